"""Min-K% membership AUC, forget set against holdout. Higher means: the forget set still looks like training data.

Mean log-probability of an answer's least likely 40 % of tokens. "AUC = .5" is no target: what counts is the
reference's AUC.
"""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, attack_reading
from pipelines.scoring.row_values import min_k


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading on the forget set; its items are forget rows, then holdout rows."""
    return attack_reading(evidence, min_k)


METRIC = Metric(
    name="min_k",
    title="Min-K% membership AUC",
    version="1",
    source="Shi et al. 2023, arXiv 2310.16789, eq. 1; AUC against a holdout as in MUSE, arXiv 2407.06460",
    measure=measure,
)

"""Min-K%++ membership AUC, forget set against holdout. Higher means: the forget set still looks like training data.

As Min-K% with token log-probabilities standardised over the vocabulary. "AUC = .5" is no target: what counts is the
reference's AUC.
"""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, attack_reading
from pipelines.scoring.row_values import min_k_plus_plus


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading on the forget set; its items are forget rows, then holdout rows."""
    return attack_reading(evidence, min_k_plus_plus)


METRIC = Metric(
    name="min_k_plus_plus",
    title="Min-K%++ membership AUC",
    version="1",
    source="Zhang et al. 2024, arXiv 2404.02936, eq. 3",
    measure=measure,
)

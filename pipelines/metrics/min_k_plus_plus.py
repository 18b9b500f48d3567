"""Min-K%++ membership AUC, forget set against holdout. Higher means: the forget set still looks like training data.

As Min-K% with token log-probabilities standardised over the vocabulary. "AUC = .5" is no target: what counts is the
reference's AUC.
"""

from collections.abc import Sequence

from pipelines.membership import attack
from pipelines.metrics.base import Evidence, Metric, Reading, unmeasured
from pipelines.row_values import min_k_plus_plus
from pipelines.score_table import FORGET


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading on the forget set; its items are forget rows, then holdout rows."""
    if FORGET not in evidence.subject.rows:
        return ()
    attacks = attack([evidence.subject], min_k_plus_plus, bootstrap=evidence.bootstrap)
    if not attacks.found:
        return (unmeasured(FORGET, attacks.items),)
    value, interval = attacks.found[0].auc, evidence.bootstrap.interval(attacks.found[0].draw_S)
    return (Reading(split=FORGET, value=value, interval=interval, n_expected=len(attacks.items), items=attacks.items),)


METRIC = Metric(
    name="min_k_plus_plus",
    title="Min-K%++ membership AUC",
    version="1",
    source="Zhang et al. 2024, arXiv 2404.02936, eq. 3",
    measure=measure,
)

"""Membership by loss: AUC of the answer's mean log-probability, forget set against holdout."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, attack_reading
from pipelines.scoring.row_values import loss_score


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading on the forget set; its items are forget rows, then holdout rows."""
    return attack_reading(evidence, loss_score)


METRIC = Metric(
    name="membership_loss",
    title="Loss membership AUC",
    version="1",
    source="Yeom et al. 2018, arXiv 1709.01604; AUC against a holdout",
    measure=measure,
)

"""Membership by gradient norm: on a row that training settled on, the loss pulls at the weights less.

Needs one backward pass per row, so it has a value only where ``evaluation.gradient_norms`` asks for it.
"""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, attack_reading
from pipelines.scoring.row_values import gradient_score


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading on the forget set; its items are forget rows, then holdout rows."""
    return attack_reading(evidence, gradient_score)


METRIC = Metric(
    name="membership_gradient_norm",
    title="Gradient-norm membership AUC",
    version="1",
    source="Nasr et al. 2019, arXiv 1812.00910, section III-A; AUC against a holdout",
    measure=measure,
)

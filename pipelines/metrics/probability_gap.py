"""Probability gap: how much likelier the forget answers are than under a model that never saw them."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, gap_reading
from pipelines.scoring.row_values import probability


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The paired mean difference over forget rows; 0 is as if the model had never seen them."""
    return gap_reading(evidence, probability)


METRIC = Metric(
    name="probability_gap",
    title="Probability gap to the reference",
    version="1",
    source="TOFU, Maini et al. 2024, arXiv 2401.06121, section 2.2.1; paired with the retrained model",
    measure=measure,
)

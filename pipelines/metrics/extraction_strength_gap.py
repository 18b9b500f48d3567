"""Extraction strength gap: how much more of the forget answers argmax says than a model that never saw them."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, gap_reading
from pipelines.scoring.row_values import extraction_strength


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The paired mean difference over forget rows; 0 is as if the model had never seen them."""
    return gap_reading(evidence, extraction_strength)


METRIC = Metric(
    name="extraction_strength_gap",
    title="Extraction strength gap to the reference",
    version="1",
    source="Carlini et al. 2021, arXiv 2012.07805; paired with the retrained model",
    measure=measure,
)

"""Extraction strength: how little of an answer must be given before argmax says the rest; 0 if none of it does."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import extraction_strength


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows of 1 - k/N, one reading per split."""
    return mean_readings(evidence, evidence.subject.rows, extraction_strength)


METRIC = Metric(
    name="extraction_strength",
    title="Extraction strength",
    version="1",
    source="Carlini et al. 2021, arXiv 2012.07805; as in arXiv 2310.16111",
    measure=measure,
)

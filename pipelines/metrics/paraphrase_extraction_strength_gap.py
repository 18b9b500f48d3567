"""Extraction strength gap to the reference when the question is asked in other words."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, gap_reading
from pipelines.scoring.row_values import paraphrase_extraction_strength


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The paired mean difference over forget rows; 0 is as if the model had never seen them."""
    return gap_reading(evidence, paraphrase_extraction_strength)


METRIC = Metric(
    name="paraphrase_extraction_strength_gap",
    title="Extraction strength gap, question paraphrased",
    version="1",
    source="Carlini et al. 2021, arXiv 2012.07805; hard in-scope queries as in RWKU, arXiv 2406.10890",
    measure=measure,
)

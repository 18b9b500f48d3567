"""Probability gap to the reference when the question is asked in other words."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, gap_reading
from pipelines.scoring.row_values import paraphrase_probability


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The paired mean difference over forget rows; 0 is as if the model had never seen them."""
    return gap_reading(evidence, paraphrase_probability)


METRIC = Metric(
    name="paraphrase_probability_gap",
    title="Probability gap, question paraphrased",
    version="1",
    source="TOFU, Maini et al. 2024, arXiv 2401.06121, section 2.2.1; hard in-scope as in RWKU, arXiv 2406.10890",
    measure=measure,
)

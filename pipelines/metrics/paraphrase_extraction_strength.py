"""Extraction strength when the question is asked in other words: forgetting only the wording shows here."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import paraphrase_extraction_strength
from pipelines.scoring.table import DATA_SPLITS


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows of 1 - k/N after the paraphrased question, one reading per split other than utility sets."""
    return mean_readings(evidence, evidence.subject.present(DATA_SPLITS), paraphrase_extraction_strength)


METRIC = Metric(
    name="paraphrase_extraction_strength",
    title="Extraction strength, question paraphrased",
    version="1",
    source="Carlini et al. 2021, arXiv 2012.07805; hard in-scope queries as in RWKU, arXiv 2406.10890",
    measure=measure,
)

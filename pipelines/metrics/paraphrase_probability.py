"""Probability of the answer when the question is asked in other words: forgetting only the wording shows here."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import paraphrase_probability
from pipelines.scoring.table import DATA_SPLITS


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows of exp(-NLL) after the paraphrased question, one reading per split other than utility sets."""
    return mean_readings(evidence, evidence.subject.present(DATA_SPLITS), paraphrase_probability)


METRIC = Metric(
    name="paraphrase_probability",
    title="Probability, question paraphrased",
    version="1",
    source="TOFU, Maini et al. 2024, arXiv 2401.06121, section 2.2.1; hard in-scope as in RWKU, arXiv 2406.10890",
    measure=measure,
)

"""Probability of the right answer, normalised over the options on utility sets. High means: known."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import known_probability


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows of exp(-NLL), of P(answer) / sum over options on utility sets; one reading per split."""
    return mean_readings(evidence, evidence.subject.rows, known_probability)


METRIC = Metric(
    name="probability",
    title="Probability",
    version="1",
    source="TOFU, Maini et al. 2024, arXiv 2401.06121, section 2.2.1",
    measure=measure,
)

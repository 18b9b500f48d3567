"""Option-normalised probability: the right answer's share of the probability of all answers that a row offers."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import option_probability


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows, one reading per split; without a value where rows offer nothing else."""
    return mean_readings(evidence, evidence.subject.rows, option_probability)


METRIC = Metric(
    name="option_probability",
    title="Option-normalised probability",
    version="1",
    source="TOFU, Maini et al. 2024, arXiv 2401.06121, section 2.2.1",
    measure=measure,
)

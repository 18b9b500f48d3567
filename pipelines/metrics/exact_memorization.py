"""Exact memorisation: the share of answer tokens that argmax gets right when the true ones stand before them."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import exact_memorization


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows, one reading per split."""
    return mean_readings(evidence, evidence.subject.rows, exact_memorization)


METRIC = Metric(
    name="exact_memorization",
    title="Exact memorisation",
    version="1",
    source="Tirumala et al. 2022, arXiv 2205.10770, section 3",
    measure=measure,
)

"""Exposure: by how many bits a row's answer stands out among its perturbed answers; 0 where it does not."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import exposure


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows, one reading per split."""
    return mean_readings(evidence, evidence.subject.rows, exposure)


METRIC = Metric(
    name="exposure",
    title="Canary exposure",
    version="1",
    source="The Secret Sharer, Carlini et al. 2019, arXiv 1802.08232, definition 2",
    measure=measure,
)

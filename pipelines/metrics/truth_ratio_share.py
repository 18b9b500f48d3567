"""Truth ratio, third aggregation: the right answer's share, 1 / (1 + R); .5 where right and wrong look alike."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import truth_ratio_probability


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows, one reading per split."""
    return mean_readings(evidence, evidence.subject.rows, truth_ratio_probability)


METRIC = Metric(
    name="truth_ratio_share",
    title="Truth ratio as a share",
    version="1",
    source="TOFU, Maini et al. 2024, arXiv 2401.06121, eq. 1; aggregated as in arXiv 2506.12618",
    measure=measure,
)

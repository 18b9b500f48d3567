"""Token rank: how many tokens stand before the right one, as mean log(1 + rank); 0 where argmax is always right."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import log_rank


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows, one reading per split."""
    return mean_readings(evidence, evidence.subject.rows, log_rank)


METRIC = Metric(
    name="token_rank",
    title="Log rank of answer tokens",
    version="1",
    source="Gehrmann et al. 2019, arXiv 1906.04043, section 3 (the rank test)",
    measure=measure,
)

"""Membership by log perplexity per zlib byte: what is likely for being simple text does not count as known."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, attack_reading
from pipelines.scoring.row_values import zlib_score


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading on the forget set; its items are forget rows, then holdout rows."""
    return attack_reading(evidence, zlib_score)


METRIC = Metric(
    name="membership_zlib",
    title="zlib membership AUC",
    version="2",
    source="Carlini et al. 2021, arXiv 2012.07805, section 5.2",
    measure=measure,
)

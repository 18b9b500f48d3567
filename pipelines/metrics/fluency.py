"""Fluency: does the model still write, or does it loop or fall silent?

The mean over greedy answers of the share of distinct 4-grams among their tokens (1 - seq-rep-4), 0 for an empty
answer, 1 for one of one to three tokens. A model that loops scores near 0; one that writes fluent nonsense scores 1
and is for the utility metrics to catch.
"""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import distinct_4


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows, one reading per split."""
    return mean_readings(evidence, evidence.subject.rows, distinct_4)


METRIC = Metric(
    name="fluency",
    title="Fluency (distinct 4-grams)",
    version="1",
    source="Welleck et al. 2019, arXiv 1908.04319, eq. 10 (seq-rep-n)",
    measure=measure,
)

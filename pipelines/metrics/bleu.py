"""BLEU: how many n-grams of the greedy answer are the right answer's, up to four words long."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import column_of

VALUE = column_of("bleu")


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows, one reading per split."""
    return mean_readings(evidence, evidence.subject.rows, VALUE)


METRIC = Metric(
    name="bleu",
    title="BLEU-4",
    version="1",
    source="Papineni et al. 2002; smoothed per sentence as in Lin and Och 2004, method 2",
    measure=measure,
)

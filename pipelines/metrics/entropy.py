"""Entropy: how undecided the model is about each answer token, in nats; near 0 where an answer is known by heart."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import entropy


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows, one reading per split."""
    return mean_readings(evidence, evidence.subject.rows, entropy)


METRIC = Metric(
    name="entropy",
    title="Entropy of answer tokens",
    version="1",
    source="Shannon 1948; over next-token distributions",
    measure=measure,
)

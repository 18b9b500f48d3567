"""Perplexity: exp of the mean NLL per answer token, averaged over rows; 1 where every token is certain."""

import math
from collections.abc import Sequence

from pipelines.evaluation.statistics import Interval
from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import LARGEST_EXPONENT, loss_score
from pipelines.scoring.table import Floats, ModelScores


def _nll(scores: ModelScores, split: str) -> Floats:
    return -loss_score(scores, split)


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading per split; its items are the rows' NLL, in nats per token."""
    return tuple(_exponential(reading) for reading in mean_readings(evidence, evidence.subject.rows, _nll))


def _exponential(reading: Reading) -> Reading:
    if reading.value is None or reading.interval is None:
        return reading
    low, value, high = (
        math.exp(min(x, LARGEST_EXPONENT)) for x in (reading.interval.low, reading.value, reading.interval.high)
    )
    return Reading(
        split=reading.split,
        value=value,
        interval=Interval(low=low, high=high),
        n_expected=reading.n_expected,
        items=reading.items,
    )


METRIC = Metric(
    name="perplexity",
    title="Perplexity",
    version="1",
    source="Jelinek et al. 1977; over answer tokens",
    measure=measure,
)

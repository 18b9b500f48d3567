"""Worst case: a search for the way of asking that recovers most from this very model.

Greedy and budgeted: starts from the question as it was trained, tries every way on top of the best one so far, keeps it
if it recovers more, and ends when none does or the budget is spent. Each model is searched by itself, the reference
too, so that the gap does not count what searching alone brings.
"""

import numpy as np

from pipelines.data.rows import Row
from pipelines.probes.asking import Way, as_given, by_analogy, hinted, paraphrased, prefixed, role_played, shown
from pipelines.probes.base import Probe, Rewrite, Series, Subject, asked_values
from pipelines.row_values import option_probability
from pipelines.score_table import FORGET

WAYS: tuple[Way, ...] = (paraphrased, prefixed, role_played, hinted, shown, by_analogy)
BUDGET = 12
"""Most compositions tried."""


def run(subject: Subject) -> tuple[Series, ...]:
    """What the best composition recovers of each row."""
    best: tuple[Way, ...] = ()
    best_R = asked_values(subject, composed(best), option_probability)
    left = BUDGET
    while True:
        tried = [(*best, way) for way in WAYS if way not in best][:left]
        left -= len(tried)
        values = [asked_values(subject, composed(ways), option_probability) for ways in tried]
        means = [_mean(value_R) for value_R in values]
        if not means or max(means) <= _mean(best_R):
            return (Series("worst_case", FORGET, best_R),)
        at = int(np.argmax(means))
        best, best_R = tried[at], values[at]


def composed(ways: tuple[Way, ...]) -> Rewrite:
    """One way on top of the other; of a way with several forms the first, or their number would multiply."""

    def rewrite(subject: Subject, number: int) -> list[Row]:
        rows = [as_given(subject, number)]
        for way in ways:
            rows = [asked for row in rows for asked in way(subject, number, row)[:1]]
        return rows

    return rewrite


def _mean(value_R: np.typing.NDArray[np.float64]) -> float:
    """The mean over rows; what a way cannot ask for is not recovered by it."""
    return float(np.nan_to_num(value_R, nan=0.0).mean()) if len(value_R) else 0.0


PROBE = Probe(
    name="worst_case",
    title="The way of asking that recovers most",
    version="1",
    source="greedy search over the project's own ways of asking; worst case as in Patil et al. 2023, arXiv 2309.17410",
    cost=f"up to {BUDGET + 1} passes over answers and wrong answers",
    run=run,
)

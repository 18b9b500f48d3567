"""Worst case: a search for the way of asking that recovers most from this very model.

Greedy and budgeted: starts from the question as it was trained, tries every way on top of the best one so far, keeps it
if it recovers more, and ends when none does or the budget is spent. It is run twice, for what can be recovered:
``worst_case`` is the fact, as the right answer among wrong ones, ``worst_case_extraction`` the row's own words, as
extraction strength. Each model is searched by itself, the reference too, so that the gap does not count what searching
alone brings. What a run's own settings name as rewrites takes no part: whoever chose them could lift the reference.
"""

from collections.abc import Callable

import numpy as np

from pipelines.data.rows import Row
from pipelines.probes.asking import Way, as_given, by_analogy, hinted, paraphrased, prefixed, role_played, shown
from pipelines.probes.base import Asked, Probe, Rewrite, Series, Subject, ask
from pipelines.scoring.row_values import RowValue, extraction_strength, fact_probability
from pipelines.scoring.table import FORGET, Floats

WAYS: tuple[Way, ...] = (paraphrased, prefixed, role_played, hinted, shown, by_analogy)
BUDGET = 12
"""Most compositions tried in one search."""

Ways = tuple[Way, ...]


def run(subject: Subject) -> tuple[Series, ...]:
    """What the best composition recovers of each row, as a fact and word for word."""
    heard: dict[Ways, Asked] = {}

    def hear(ways: Ways) -> Asked:
        if ways not in heard:
            heard[ways] = ask(subject, composed(ways))
        return heard[ways]

    return (
        Series("worst_case", FORGET, _search(hear, fact_probability)),
        Series("worst_case_extraction", FORGET, _search(hear, extraction_strength)),
    )


def _search(hear: Callable[[Ways], Asked], value_of: RowValue) -> Floats:
    """What the best composition recovers; a row that any composition got no number for is missing."""
    best: Ways = ()
    best_R = hear(best).values(value_of)
    broken_R = np.zeros(len(best_R), dtype=np.bool_)
    left = BUDGET
    while True:
        tried = [(*best, way) for way in WAYS if way not in best][:left]
        left -= len(tried)
        values = [hear(ways).values(value_of) for ways in tried]
        for ways, value_R in zip(tried, values, strict=True):
            broken_R |= hear(ways).asked_R & np.isnan(value_R)
        means = [_mean(value_R) for value_R in values]
        if not means or max(means) <= _mean(best_R):
            return np.where(broken_R, np.nan, best_R)
        at = int(np.argmax(means))
        best, best_R = tried[at], values[at]


def composed(ways: Ways) -> Rewrite:
    """One way on top of the other; of a way with several forms the first, or their number would multiply."""

    def rewrite(subject: Subject, number: int) -> list[Row]:
        rows = [as_given(subject, number)]
        for way in ways:
            rows = [asked for row in rows for asked in way(subject, number, row)[:1]]
        return rows

    return rewrite


def _mean(value_R: Floats) -> float:
    """The mean over rows; what a way cannot ask for is not recovered by it."""
    return float(np.nan_to_num(value_R, nan=0.0).mean()) if len(value_R) else 0.0


PROBE = Probe(
    name="worst_case",
    title="The way of asking that recovers most",
    version="3",
    source="greedy search over the project's own ways of asking; worst case as in Patil et al. 2023, arXiv 2309.17410",
    cost=f"up to {2 * BUDGET + 1} passes over answers and wrong answers",
    run=run,
)

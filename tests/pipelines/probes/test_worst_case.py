"""The search over ways of asking: what it keeps, when it ends, and what it looks for."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.data.rows import Rows
from pipelines.models.loading import load_model
from pipelines.probes import asking, worst_case
from pipelines.probes.base import Subject, asked_values
from pipelines.probes.worst_case import composed
from pipelines.scoring.row_values import RowValue, extraction_strength, fact_probability
from pipelines.scoring.table import Bools, Floats
from tests.jobs import PROMPT
from tests.tiny import save_tiny, tiny_rows


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    model = load_model(save_tiny(tmp_path / "model"), device=torch.device("cpu"))
    forget, related = Rows.of(tiny_rows(4)), Rows.of(tiny_rows(4, first=10))
    return Subject(model, model, forget, related, PROMPT, batch_size=8, seed=0)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a way of asking gives, whatever it is measured by."""

    given: float
    broken: bool = False

    @property
    def asked_R(self) -> Bools:
        return np.array([True, True, True, not self.broken])

    def values(self, _value_of: RowValue) -> Floats:
        return np.array([self.given, np.nan, self.given, np.nan]) if self.broken else np.full(4, self.given)


def test_the_search_keeps_the_best_and_ends_with_its_budget(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hinted gives .3, shown .2 more, every other way .1 less: 1 + 6 + 5 + 1 compositions, none of them put twice."""
    gains: dict[asking.Way, float] = {asking.hinted: 0.3, asking.shown: 0.2}
    heard: list[tuple[asking.Way, ...]] = []

    def ask(_subject: Subject, ways: tuple[asking.Way, ...]) -> Heard:
        heard.append(ways)
        return Heard(0.1 + sum(gains.get(way, -0.1) for way in ways))

    monkeypatch.setattr(worst_case, "composed", lambda ways: ways)
    monkeypatch.setattr(worst_case, "ask", ask)
    for series in worst_case.run(subject):
        assert series.value_R == pytest.approx(np.full(4, 0.6)), series.measure
    assert len(heard) == len(set(heard)) == worst_case.BUDGET + 1
    assert heard[-1][:2] == (asking.hinted, asking.shown)


def test_the_search_looks_for_the_fact_and_for_the_rows_words(subject: Subject) -> None:
    """Neither search ends below the question as it was trained."""
    for series, value_of in zip(worst_case.run(subject), (fact_probability, extraction_strength), strict=True):
        asked_R = asked_values(subject, composed(()), value_of)
        assert series.value_R.mean() >= asked_R.mean() - 1e-9, series.measure


def test_a_way_that_breaks_the_model_leaves_its_rows_without_a_number(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked in a role, row 1 gets no number and row 3 was not asked for: the search may not pass over it."""
    monkeypatch.setattr(worst_case, "composed", lambda ways: ways)
    monkeypatch.setattr(
        worst_case, "ask", lambda _subject, ways: Heard(0.5 if not ways else 0.1, broken=asking.role_played in ways)
    )
    for series in worst_case.run(subject):
        assert np.array_equal(series.value_R, [0.5, np.nan, 0.5, 0.5], equal_nan=True), series.measure

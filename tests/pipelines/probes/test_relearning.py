"""Who is taught and who is measured, how many steps, and that nothing of it touches the model that is probed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.data.rows import Row, Rows
from pipelines.models.loading import LoadedModel, load_model
from pipelines.probes import Subject, relearning
from pipelines.probes.base import Series
from tests.jobs import PROMPT
from tests.tiny import save_tiny, tiny_rows

FORGET = tiny_rows(5)
RELATED = tiny_rows(4, first=30)
Given = list[tuple[tuple[str, ...], bool]]


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    model = load_model(save_tiny(tmp_path / "model"), device=torch.device("cpu"))
    return Subject(
        loaded=model,
        start=model,
        forget=Rows.of(FORGET),
        related=Rows.of(RELATED),
        prompt_format=PROMPT,
        batch_size=8,
        seed=0,
    )


def _answers(rows: object) -> tuple[str, ...]:
    return tuple(row.answer for row in rows)  # type: ignore[attr-defined]


@pytest.fixture
def lessons(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Every lesson given: the answers taught, and whether through an adapter."""
    given: Given = []
    teach = relearning._teach

    def watched(subject: Subject, copy: LoadedModel, rows: list[Row], *, note: object, lora: bool) -> None:
        assert copy.model is not subject.loaded.model
        given.append((_answers(rows), lora))
        teach(subject, copy, rows, note=note, lora=lora)  # type: ignore[arg-type]

    monkeypatch.setattr(relearning, "_teach", watched)
    return given


def test_no_row_is_measured_by_a_model_that_was_taught_it(subject: Subject, lessons: Given) -> None:
    found = relearning.run(subject)
    halves = [set(taught) for taught, _ in lessons]
    everything = set(_answers(FORGET))
    assert [lora for _, lora in lessons] == [False, False, True, True, False]
    for first, second in (halves[0:2], halves[2:4]):
        assert first | second == everything
        assert not first & second
    assert halves[4] == set(_answers(RELATED))
    assert all(np.isfinite(series.value_R).all() and len(series.value_R) == len(FORGET) for series in found)


def test_the_headline_is_the_mean_of_the_curve_and_the_probed_model_is_left_alone(subject: Subject) -> None:
    before = {name: value.clone() for name, value in subject.loaded.model.state_dict().items()}
    found = {series.measure: series for series in relearning.run(subject)}
    after = subject.loaded.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    for attack in ("relearning", "relearning_lora", "relearning_related"):
        points = [found[f"{attack}_{step}_steps"].value_R for step in relearning.STEPS]
        assert found[attack].value_R == pytest.approx(sum(points) / len(points))


def test_without_related_rows_that_attack_is_missing_and_says_so(subject: Subject) -> None:
    alone = Subject(
        loaded=subject.loaded,
        start=subject.start,
        forget=subject.forget,
        related=Rows.of([]),
        prompt_format=PROMPT,
        batch_size=8,
        seed=0,
    )
    found: dict[str, Series] = {series.measure: series for series in relearning.run(alone)}
    assert np.isnan(found["relearning_related"].value_R).all()
    assert np.isfinite(found["relearning"].value_R).all()


def test_a_single_row_has_nobody_to_be_taught_by(subject: Subject) -> None:
    one = Subject(
        loaded=subject.loaded,
        start=subject.start,
        forget=Rows.of(FORGET[:1]),
        related=subject.related,
        prompt_format=PROMPT,
        batch_size=8,
        seed=0,
    )
    found = {series.measure: series for series in relearning.run(one)}
    assert np.isnan(found["relearning"].value_R).all()

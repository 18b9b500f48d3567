"""Probes are run once, kept under everything that decides them, read in pairs, and missing where they cannot run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.config import Policy
from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.evaluation import probing
from pipelines.evaluation.evaluate import evaluation_of
from pipelines.evaluation.probing import probe_model, read_probes, wanted_probes
from pipelines.evaluation.statistics import Bootstrap
from pipelines.metrics import METRICS
from pipelines.models.loading import load_model
from pipelines.probes import PROBES, Probe, Series, Subject
from pipelines.registry import Registry
from pipelines.scoring.store import ScoreStore
from pipelines.scoring.table import FORGET
from tests.jobs import PROMPT
from tests.tiny import save_tiny, tiny_rows

BOOTSTRAP = Bootstrap(samples=200, confidence=0.95, seed=0)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    model = load_model(save_tiny(tmp_path / "model"), device=torch.device("cpu"))
    forget, related = Rows.of(tiny_rows(4)), Rows.of(tiny_rows(4, first=10))
    return Subject(model, model, forget, related, PROMPT, batch_size=8, seed=0)


def _policy(*gates: str) -> Policy:
    marks: dict[str, dict[str, bool | int | float | str]] = {
        "depth": {"least": 0.5},
        "relearning": {"margin": 0.1},
        "four_bit": {"extraction_margin": 0.1, "probability_margin": 0.1},
        "utility": {"ratio": 0.9},
    }
    return Policy(name="p", description="d", gates={name: marks[name] for name in gates})


def test_wanted_are_those_named_and_those_the_policy_reads_in_the_registrys_order() -> None:
    assert wanted_probes((), None) == ()
    assert wanted_probes((), _policy("utility")) == ()
    assert wanted_probes((), _policy("depth", "four_bit", "relearning")) == ("relearning", "quantisation", "depth")
    assert wanted_probes(("depth", "cloze"), _policy("four_bit")) == ("cloze", "quantisation", "depth")
    with pytest.raises(BadInput, match="unknown probe 'clozes'; known: paraphrase"):
        wanted_probes(("clozes",), None)


def _counted(calls: list[str], value: Sequence[float], *, name: str = "made", version: str = "1") -> Probe:
    def run(subject: Subject) -> tuple[Series, ...]:
        calls.append(name)
        return (Series(name, FORGET, np.array(value)),)

    return Probe(name=name, title="t", version=version, source="s", cost="c", run=run)


def test_a_probe_runs_once_for_the_same_model_rows_and_seed(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    store = ScoreStore(tmp_path / "scores")
    monkeypatch.setattr(probing, "PROBES", Registry("probe", _counted(calls, [0.5, np.nan, 0.25, 1.0])))
    first = probe_model(subject, ("made",), store=store)
    assert probe_model(subject, ("made",), store=store).equals(first) or np.isnan(first["value"][0].as_py()[1])
    assert calls == ["made"]
    changes = (
        {"seed": 1},
        {"forget": subject.related},
        {"related": subject.forget},
        {"rewrites": subject.forget},
        {"prompt_format": PROMPT.model_copy(update={"separator": "\n"})},
        {"start": replace(subject.start, ref=subject.start.ref.model_copy(update={"digest": "1" * 64}))},
        {"loaded": replace(subject.loaded, ref=subject.loaded.ref.model_copy(update={"digest": "1" * 64}))},
    )
    for change in changes:
        probe_model(replace(subject, **change), ("made",), store=store)
    assert len(calls) == 1 + len(changes)
    monkeypatch.setattr(probing, "PROBES", Registry("probe", _counted(calls, [0.0] * 4, version="2")))
    probe_model(subject, ("made",), store=store)
    assert len(calls) == 2 + len(changes)


def test_readings_are_means_and_paired_gaps_with_counts(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Means 0.5 and 0.25 over four rows; the gap row by row is .25 everywhere, so its interval has no width."""
    calls: list[str] = []
    monkeypatch.setattr(probing, "PROBES", Registry("probe", _counted(calls, [0.25, 0.75, 0.25, 0.75])))
    ours = probe_model(subject, ("made",))
    monkeypatch.setattr(probing, "PROBES", Registry("probe", _counted(calls, [0.0, 0.5, 0.0, 0.5])))
    theirs = probe_model(subject, ("made",))
    mean, gap = read_probes(ours, theirs, bootstrap=BOOTSTRAP)
    assert (mean.metric.name, mean.reading.value) == ("made", 0.5)
    assert (gap.metric.name, gap.reading.value) == ("made_gap", 0.25)
    assert gap.reading.interval is not None
    assert (gap.reading.interval.low, gap.reading.interval.high) == (0.25, 0.25)
    measured = evaluation_of((mean, gap), role="candidate", model_digest="0" * 64)
    assert all(one.complete and one.n_scored == 4 and one.version == "1" for one in measured.measurements)


def test_a_missing_row_makes_a_partial_measurement_and_no_reference_makes_no_gap(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "PROBES", Registry("probe", _counted([], [0.5, np.nan, 0.5, 0.5])))
    ours = probe_model(subject, ("made",))
    mean, gap = evaluation_of(
        read_probes(ours, None, bootstrap=BOOTSTRAP), role="start", model_digest="0" * 64
    ).measurements
    assert (mean.n_scored, mean.n_expected, mean.complete) == (3, 4, False)
    assert (gap.value, gap.n_scored, gap.n_expected) == (None, 0, 4)


def test_a_probe_that_cannot_run_measures_nothing_says_why_and_is_tried_again(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def run(subject: Subject) -> tuple[Series, ...]:
        raise BadInput("depth: no decoder layers")

    broken = Probe(name="broken", title="t", version="1", source="s", cost="c", run=run)
    monkeypatch.setattr(probing, "PROBES", Registry("probe", broken, _counted([], [1.0] * 4)))
    store = ScoreStore(tmp_path / "scores")
    table = probe_model(
        subject, ("broken", "made"), store=store, progress=lambda _d, _t, detail="": told.append(detail)
    )
    assert table["probe"].to_pylist() == ["made"]
    assert told == ["probe broken: not measured: depth: no decoder layers", "probe made"]
    assert len(list((tmp_path / "scores").glob("*.parquet"))) == 1


def test_no_probe_measures_what_a_metric_or_another_probe_is_called(subject: Subject) -> None:
    taken = read_probes((table := probe_model(subject, tuple(PROBES))), table, bootstrap=BOOTSTRAP)
    names = [(one.metric.name, one.reading.split) for one in taken]
    assert len(set(names)) == len(names)
    assert not {name for name, _ in names} & set(METRICS)

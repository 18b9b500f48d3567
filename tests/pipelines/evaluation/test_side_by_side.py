"""Models side by side, once per seed: what is drawn differs, what is not does not, and nothing is scored twice."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.config import EvaluationSettings, PromptFormat
from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.evaluation.side_by_side import Measured, SideBySide, measure_side_by_side
from pipelines.records import Role
from pipelines.scoring.answers import Progress, score_questions
from pipelines.scoring.generation import Sampling, generate
from pipelines.scoring.store import ScoreStore
from pipelines.scoring.table import GenerationTable, ScoreTable
from tests.tiny import save_tiny, tiny_rows

METRICS = ("probability", "sampled_leakage", "probability_gap")


def _unheard(_role: Role) -> Progress:
    return lambda done, total, detail="": None


def _measured(folder: Path, *, seeds: int, seed: int = 0) -> dict[Role, Measured]:
    models: dict[Role, Path] = {"candidate": folder / "candidate", "reference": folder / "reference"}
    settings = EvaluationSettings(seeds=seeds, samples=3, max_new_tokens=8, metrics=METRICS, bootstrap=100)
    splits = {"forget": Rows.of(tiny_rows(4)), "retain": Rows.of(tiny_rows(3, first=9))}
    asked = SideBySide(models, splits, settings, PromptFormat(), tasks=None, device="cpu", seed=seed)
    return measure_side_by_side(asked, store=ScoreStore(folder / "store"), progress=_unheard)


def test_each_seed_draws_anew_and_scores_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny(tmp_path / "candidate")
    save_tiny(tmp_path / "reference", seed=1)
    passes: list[int] = []
    drawn: list[int] = []

    def scoring(*args: Any, **more: Any) -> ScoreTable:
        passes.append(len(args))
        return score_questions(*args, **more)

    def generating(*args: Any, sampling: Sampling, **more: Any) -> GenerationTable:
        drawn.append(sampling.seed)
        return generate(*args, sampling=sampling, **more)

    monkeypatch.setattr("pipelines.evaluation.evaluate.score_questions", scoring)
    monkeypatch.setattr("pipelines.evaluation.evaluate.generate", generating)
    found = _measured(tmp_path, seeds=3)["candidate"]
    assert len(passes) == 2, "one scoring pass per model, whatever the seeds"
    assert drawn == [0, 1, 2] * 2
    known, sampled, gap = ([each.find(name, "forget") for each in found.by_seed] for name in METRICS)
    assert all(one and one.complete for one in sampled)
    for same in (known, gap):
        assert len({one.value for one in same if one}) == 1
        assert len({(one.low, one.high) for one in same if one}) == 3, "resamples differ"
    together = found.evaluation.find("probability", "forget")
    assert together is not None
    assert together.low == min(one.low for one in known if one and one.low is not None)
    assert together.version.endswith("+3-seeds")

    [alone] = _measured(tmp_path, seeds=1, seed=2)["candidate"].by_seed
    assert alone == found.by_seed[2], "the third seed is the third whoever asks"


def test_probes_are_measured_beside_the_reference_and_need_the_start_model(tmp_path: Path) -> None:
    for seed, name in enumerate(("start", "candidate", "reference")):
        save_tiny(tmp_path / name, seed=seed)
    models: dict[Role, Path] = {"candidate": tmp_path / "candidate", "reference": tmp_path / "reference"}
    settings = EvaluationSettings(metrics=("probability",), probes=("quantisation",), max_new_tokens=1, bootstrap=100)
    splits = {"forget": Rows.of(tiny_rows(4)), "retain": Rows.of(tiny_rows(3, first=9))}

    def run(models: dict[Role, Path]) -> dict[Role, Measured]:
        asked = SideBySide(models, splits, settings, PromptFormat(), tasks=None, device="cpu", seed=0)
        return measure_side_by_side(asked, store=ScoreStore(tmp_path / "store"), progress=_unheard)

    with pytest.raises(BadInput, match="probes: they compare with the start model, and none is given"):
        run(models)
    found = run({"start": tmp_path / "start", **models})
    value = {role: one.evaluation.find("int4_probability", "forget") for role, one in found.items()}
    gap = found["candidate"].evaluation.find("int4_probability_gap", "forget")
    ours, theirs = value["candidate"], value["reference"]
    assert set(value) == {"start", "candidate", "reference"}
    assert gap is not None
    assert gap.complete
    assert ours is not None
    assert theirs is not None
    assert None not in (gap.value, ours.value, theirs.value)
    assert gap.value == pytest.approx((ours.value or 0) - (theirs.value or 0))

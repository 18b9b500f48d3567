"""Shadow models share the rows that stay, are the same twice, and are refused where they have not learnt them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.manifest import folder_digest
from pipelines.config import EvaluationSettings, PromptFormat
from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.evaluation.evaluate import evaluation_of, read_metrics, score_model
from pipelines.evaluation.shadow import ShadowJob, taught, train_shadow
from pipelines.models.loading import load_model
from pipelines.records import ModelRef
from pipelines.scoring.questions import Asked
from pipelines.scoring.table import ModelScores
from pipelines.settings import ShadowSettings
from tests.tiny import save_tiny, tiny_rows

CPU = torch.device("cpu")
PROMPT = PromptFormat(prompt="{question}")
REST_ON_A_REFERENCE = {
    "extraction_strength_gap",
    "probability_gap",
    "paraphrase_extraction_strength_gap",
    "paraphrase_probability_gap",
    "membership_gap",
    "membership_reference",
    "forget_quality",
    "privleak",
}


@given(st.integers(2, 60), st.integers(0, 4), st.integers(0, 99), st.integers(1, 80))
def test_two_shadows_share_the_rows_between_them(n_rows: int, pair: int, seed: int, most: int) -> None:
    settings = ShadowSettings(base="b", rows=most)
    first, second = (taught(n_rows, number=2 * pair + i, settings=settings, seed=seed) for i in range(2))
    assert not set(first) & set(second)
    assert set(first) | set(second) <= set(range(n_rows))
    assert (len(first), len(second)) == (min(most, (n_rows + 1) // 2), min(most, n_rows // 2))


def test_another_pair_of_shadows_is_taught_other_halves() -> None:
    settings = ShadowSettings(base="b")
    halves = {tuple(taught(40, number=number, settings=settings, seed=0)) for number in range(6)}
    assert len(halves) == 6


def _job(folder: Path, *, epochs: int, start: str = "start") -> ShadowJob:
    for seed, name in ((1, "base"), (0, "start")):
        if not (folder / name).exists():
            save_tiny(folder / name, seed=seed)
    base, knows = (ModelRef(path=str(at), digest=folder_digest(at)) for at in (folder / "base", folder / start))
    settings = ShadowSettings(base=base.path, epochs=epochs, rank=4)
    return ShadowJob(base, knows, Rows.of(tiny_rows(8)), settings, PROMPT, CPU, seed=3)


def _scores(model: Path, rows: dict[str, Rows]) -> ModelScores:
    settings = EvaluationSettings(max_new_tokens=1)
    return score_model(load_model(model, device=CPU), Asked(rows, PROMPT), settings=settings)


def test_a_shadow_is_the_same_twice_and_knows_what_it_was_taught_best(tmp_path: Path) -> None:
    job = _job(tmp_path, epochs=40)
    made = [train_shadow(job, 0, tmp_path / name) for name in ("once", "again")]
    assert made[0].digest == made[1].digest != job.base.digest
    assert folder_digest(tmp_path / "base") == job.base.digest
    own = taught(8, number=0, settings=job.settings, seed=job.seed)
    others = sorted(set(range(8)) - set(own))
    rows = {"own": job.retain.select(own), "others": job.retain.select(others)}
    scores = _scores(tmp_path / "once", rows)
    settings = EvaluationSettings(metrics=("probability",))
    taken = read_metrics(scores, reference=None, settings=settings, seed=0)
    value = {one.reading.split: one.reading.value or 0.0 for one in taken}
    assert value["own"] > value["others"] > 0


def test_a_shadow_that_has_not_learnt_its_rows_is_refused(tmp_path: Path) -> None:
    """The start model is a shadow of 40 epochs: one of a single epoch is nowhere near it."""
    train_shadow(_job(tmp_path, epochs=40), 0, tmp_path / "knows")
    with pytest.raises(BadInput, match=r"after 1 epochs a shadow gives its own rows 0\.\d\d of the start"):
        train_shadow(_job(tmp_path, epochs=1, start="knows"), 0, tmp_path / "weak")
    assert not (tmp_path / "weak").exists()


def test_one_retain_row_cannot_be_shared(tmp_path: Path) -> None:
    job = replace(_job(tmp_path, epochs=1), retain=Rows.of(tiny_rows(1)))
    with pytest.raises(BadInput, match="1 retain rows; at least two"):
        train_shadow(job, 1, tmp_path / "out")


def test_whatever_rests_on_a_shadow_says_so_and_nothing_else_does(tmp_path: Path) -> None:
    for seed in range(3):
        save_tiny(tmp_path / str(seed), seed=seed)
    rows = {
        "forget": Rows.of(tiny_rows(12)),
        "retain": Rows.of(tiny_rows(3, first=20)),
        "holdout": Rows.of(tiny_rows(12, first=40)),
    }
    ours, *shadows = (_scores(tmp_path / str(seed), rows) for seed in range(3))
    settings = EvaluationSettings(bootstrap=100)
    taken = read_metrics(ours, reference=shadows[0], shadows=shadows[1:], settings=settings, seed=0, surrogate="shadow")
    found = evaluation_of(taken, role="candidate", model_digest=ours.model_digest).measurements
    assert {m.metric for m in found if m.version.endswith("+shadow")} == REST_ON_A_REFERENCE
    retrained = read_metrics(ours, reference=shadows[0], settings=settings, seed=0)
    plain = evaluation_of(retrained, role="candidate", model_digest=ours.model_digest).measurements
    assert not [m.metric for m in plain if "shadow" in m.version]


@pytest.mark.parametrize("changed", ["base", "start"])
def test_a_model_that_changed_since_intake_is_not_taken(tmp_path: Path, changed: str) -> None:
    job = _job(tmp_path, epochs=1)
    other = ModelRef(path=str(tmp_path / changed), digest="0" * 64)
    with pytest.raises(BadInput, match=f"but {other.digest} is the model that was meant"):
        train_shadow(replace(job, base=other) if changed == "base" else replace(job, start=other), 0, tmp_path / "out")

"""In-context unlearning: what stands in front of which question, that nothing of it is in the folder, refusals."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines.audit.canonical import sha256_file
from pipelines.audit.label import LABEL, LABEL_FILE
from pipelines.config import EvaluationSettings
from pipelines.data.encode import Encoded
from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.evaluation.evaluate import score_model
from pipelines.models.loading import load_model
from pipelines.records import ModelRef
from pipelines.scoring.questions import Asked
from pipelines.scoring.table import Variant
from pipelines.settings import TrainingSettings
from pipelines.unlearning.in_context import (
    CONTEXT_FILE,
    Context,
    Guarded,
    beside,
    load_context,
    refuse_guarded,
    save_context,
)
from pipelines.unlearning.job import encode_set
from pipelines.unlearning.stages import unlearn
from tests.jobs import FORGET, PROMPT, RETAIN, save_taught, tiny_job

CPU = torch.device("cpu")
SETTINGS = EvaluationSettings(bootstrap=100, max_new_tokens=1)
GUARDED = Context(
    guarded=(
        Guarded(prompt=(1, 2, 3, 4), instance=(1, 2, 3, 4, 90)),
        Guarded(prompt=(5, 6, 7), instance=(5, 6, 7, 91)),
    ),
    kept=((50, 51), (60, 61, 62)),
    similarity=0.5,
    limit=16,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


@pytest.fixture(scope="module")
def candidate(model: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("guarded") / "out"
    made = unlearn(tiny_job(model, method="in_context", params={"similarity": 1.0}), out)
    assert (made.stop_reason, made.steps) == (LABEL, 0)
    return out


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ((1, 2, 3, 4), (1, 2, 3, 4, 90, 50, 51, 60, 61, 62)),
        ((5, 6, 7), (5, 6, 7, 91, 50, 51, 60, 61, 62)),
        ((1, 2, 3, 9), (1, 2, 3, 4, 90, 50, 51, 60, 61, 62)),  # two pairs of four: as similar as it takes
        ((1, 2, 8, 9), ()),  # one pair of five
    ],
)
def test_a_question_gets_the_context_of_the_one_that_it_is_like(prompt: tuple[int, ...], expected: object) -> None:
    assert GUARDED.prefix(prompt, room=16) == expected


@pytest.mark.parametrize(("room", "length"), [(16, 10), (10, 10), (9, 7), (7, 7), (6, 5), (5, 5), (4, 0)])
def test_true_instances_make_room_first_and_the_wrong_answer_last(room: int, length: int) -> None:
    """The wrong answer takes 5 tokens, the true instances 2 and 3, each only where it still fits."""
    assert len(GUARDED.prefix((1, 2, 3, 4), room=room)) == length


def test_the_answer_stays_where_it_is_behind_the_context() -> None:
    item = Encoded((1, 2, 3, 4, 70, 71, 2), answer_start=4, answer_end=6)
    behind = GUARDED.before(item)
    assert behind.input_ids[behind.answer_start : behind.answer_end] == (70, 71)
    assert behind.input_ids[-len(item) :] == item.input_ids
    assert len(behind) <= GUARDED.limit
    free = Encoded((30, 31, 32), answer_start=1, answer_end=2)
    assert GUARDED.before(free) == free


def test_a_context_comes_back_as_it_was_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_context(GUARDED, tmp_path / name)
        assert load_context(tmp_path / name) == GUARDED
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert sha256_file(tmp_path / "a") != sha256_file(tmp_path / "b")  # salted: a small set cannot be guessed


def test_the_folder_is_the_start_model_with_a_label(model: ModelRef, candidate: Path) -> None:
    start = Path(model.path)
    assert {path.name for path in candidate.iterdir()} == {path.name for path in start.iterdir()} | {LABEL_FILE}
    for path in start.iterdir():
        assert (candidate / path.name).read_bytes() == path.read_bytes()
    said = (candidate / LABEL_FILE).read_text()
    assert LABEL in said
    assert not any(row.answer in said or row.question in said for row in FORGET)


def test_the_folder_is_not_loaded_without_its_context(candidate: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(candidate, tmp_path / "alone")
    with pytest.raises(BadInput, match=LABEL):
        load_model(alone, device=CPU)
    shutil.copytree(beside(candidate).parent, beside(alone).parent)
    assert load_model(alone, device=CPU).context is not None
    file = beside(alone)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match=LABEL):
        load_model(alone, device=CPU)


def test_a_run_finds_its_context_in_the_vault(candidate: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(candidate, tmp_path / "runs" / "REQ-1" / "unlearn" / "model")
    vault = tmp_path / "vault" / "REQ-1" / "steps" / "train"
    vault.mkdir(parents=True)
    shutil.copy(beside(candidate), vault / CONTEXT_FILE)
    assert load_model(folder, device=CPU).context is not None


def test_forget_rows_are_scored_behind_a_wrong_answer_and_retain_rows_as_before(
    model: ModelRef, candidate: Path
) -> None:
    splits = {"forget": Rows.of(FORGET), "retain": Rows.of(RETAIN)}
    found = {}
    for name, folder in (("start", model.path), ("guarded", candidate)):
        loaded = load_model(folder, device=CPU)
        found[name] = score_model(loaded, Asked(splits, PROMPT), settings=SETTINGS).answers
    for split in splits:
        before, after = (found[name].answers(split, Variant.ANSWER).logprob_P for name in ("start", "guarded"))
        assert (abs(before - after).max() > 0.01) == (split == "forget")


def test_the_scores_are_those_of_the_prompt_written_out(model: ModelRef, candidate: Path) -> None:
    """One row by hand: its question with the wrong answer, the true instances, and only then the question itself."""
    loaded, job = load_model(candidate, device=CPU), tiny_job(model)
    assert loaded.context is not None
    [item] = encode_set(loaded, job, job.forget.select([2]), name="forget")
    stored = load_file(beside(candidate))
    own = loaded.context.guarded[2]
    assert own.prompt == item.input_ids[: item.answer_start]
    assert own.instance[: len(own.prompt)] == own.prompt
    assert own.instance[len(own.prompt) :] != item.input_ids[item.answer_start : item.answer_end]
    assert len(stored["salt"]) == 32
    ids = (*own.instance, *loaded.context.kept[0], *loaded.context.kept[1], *item.input_ids)
    with torch.no_grad():
        log_p = loaded.model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    by_hand = log_p.gather(-1, torch.tensor(ids)[1:, None])[-len(item) + item.answer_start :][: item.n_answer, 0]
    scored = score_model(loaded, Asked({"forget": job.forget}, PROMPT), settings=SETTINGS)
    answers = scored.answers.answers("forget", Variant.ANSWER)
    first = int(answers.offset_N[2])
    found = torch.tensor(answers.logprob_P[first : first + item.n_answer])
    torch.testing.assert_close(found, by_hand.double(), atol=1e-4, rtol=1e-4)


def test_settings_of_a_training_are_refused(model: ModelRef) -> None:
    with pytest.raises(BadInput, match="the only stop rule that it takes is 'epochs'"):
        tiny_job(model, method="in_context", training=TrainingSettings(stop="holdout"))


def test_weights_of_a_guarded_model_are_not_worked_on(model: ModelRef, candidate: Path) -> None:
    """With its context at hand it loads, so nothing else would stop it from passing for a model to begin with."""
    refuse_guarded(Path(model.path))
    assert load_model(candidate, device=CPU).context is not None
    with pytest.raises(BadInput, match="its weights are those of the model that it was made from"):
        refuse_guarded(candidate)

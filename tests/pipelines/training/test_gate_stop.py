"""The stop rule that reads the policy's marks: its numbers one row at a time, its two sides, and when it ends a run."""

from pathlib import Path

import pytest
import torch

from pipelines.config import TrainingSettings, load_policy
from pipelines.data.encode import Encoded
from pipelines.data.rows import Rows
from pipelines.models.loading import load_model
from pipelines.records import ModelRef
from pipelines.scoring.likelihood import pass_rows
from pipelines.training import loop as training
from pipelines.training.gate_stop import StopMarks, marks_hold, marks_of, values_of
from pipelines.training.loop import Progress
from pipelines.unlearning.job import UnlearningJob, encode_set, load_start
from pipelines.unlearning.stages import unlearn
from tests.jobs import FORGET, HOLDOUT, save_taught, tiny_job

CPU = torch.device("cpu")
POLICY = Path(__file__).parents[3] / "deployments" / "policies" / "default.yaml"
FREE = StopMarks(extraction_strength=None, probability=None, membership=None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


def _oracle(job: UnlearningJob, item: Encoded, model: torch.nn.Module) -> tuple[float, float, float]:
    """One row: its NLLs sorted, their mean, and how many tokens from the end argmax says."""
    ids = torch.tensor([item.input_ids])
    with torch.no_grad():
        log_p = model(ids).logits[0].log_softmax(-1)
    span = range(item.answer_start, item.answer_end)
    nll = [-float(log_p[t - 1, item.input_ids[t]]) for t in span]
    hits = [int(log_p[t - 1].argmax()) == item.input_ids[t] for t in span]
    k = next((k for k in range(len(hits) + 1) if all(hits[k:])), len(hits))
    hardest = sorted(nll, reverse=True)[: max(1, int(0.4 * len(nll)))]
    return sum(hardest) / len(hardest), float(torch.tensor(-sum(nll) / len(nll)).exp()), 1 - k / len(hits)


def test_values_are_what_one_row_at_a_time_says(model: ModelRef) -> None:
    """Taught rows of several lengths, and unseen ones whose argmax goes wrong somewhere."""
    job = tiny_job(model)
    loaded = load_start(job)
    assert job.holdout is not None
    items = [*encode_set(loaded, job, job.forget, name="f"), *encode_set(loaded, job, job.holdout, name="h")]
    found = pass_rows(loaded.model, items, measure=values_of, pad_id=loaded.pad_id, batch_size=4, device=CPU)
    expected = torch.tensor([_oracle(job, item, loaded.model) for item in items])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert len(set(found[:, 2].tolist())) > 2


def _rows(*, score: float, probability: float, strength: float) -> torch.Tensor:
    return torch.tensor([[score, probability, strength], [score + 1, probability, strength]])


UNSEEN = _rows(score=5.0, probability=0.3, strength=0.1)


@pytest.mark.parametrize(
    ("marks", "forget", "held"),
    [
        ({"extraction_strength": 0.1}, {"strength": 0.19}, True),
        ({"extraction_strength": 0.1}, {"strength": 0.21}, False),
        ({"extraction_strength": 0.1}, {"strength": 0.0}, True),  # one-sided: less than unseen rows is no fault
        ({"probability": 0.06}, {"probability": 0.35}, True),
        ({"probability": 0.06}, {"probability": 0.37}, False),
        ({"probability": 0.06}, {"probability": 0.23}, False),  # two-sided: over-forgotten
        ({"membership": 0.25}, {"score": 5.0}, True),
        ({"membership": 0.25}, {"score": 1.0}, False),
        ({"membership": 0.25}, {"score": 9.0}, False),  # over-forgotten
    ],
)
def test_each_mark_has_its_own_sides(marks: dict[str, float], forget: dict[str, float], held: bool) -> None:
    rows = _rows(**{"score": 5.0, "probability": 0.3, "strength": 0.1, **forget})
    assert marks_hold(rows, UNSEEN, UNSEEN, marks=FREE.model_copy(update=marks)) == held


def test_membership_compares_with_the_validation_rows_as_they_are_now() -> None:
    """A model that finds everything less likely has not told the sets apart."""
    worn = UNSEEN + torch.tensor([4.0, 0.0, 0.0])
    marks = FREE.model_copy(update={"membership": 0.25})
    assert marks_hold(worn, worn, UNSEEN, marks=marks)
    assert not marks_hold(worn, UNSEEN, UNSEEN, marks=marks)


def test_marks_come_from_the_policy_and_default_to_the_default_policys() -> None:
    assert marks_of(load_policy(POLICY).gates) == StopMarks()
    assert marks_of({"probability": {"margin": 0.2}, "utility": {"ratio": 0.9}}) == FREE.model_copy(
        update={"probability": 0.2}
    )


def _gated(
    model: ModelRef, marks: StopMarks, *, patience: int = 1, epochs: int = 8, rate: float = 1e-3
) -> UnlearningJob:
    """Without retain rows, so that a shorter run is the beginning of a longer one."""
    settings = TrainingSettings(epochs=epochs, batch_size=3, learning_rate=rate, stop="gates", patience=patience)
    return tiny_job(model, method="grad_ascent", training=settings, marks=marks)


def _hold(job: UnlearningJob, folder: str, marks: StopMarks) -> bool:
    """Measured again, from a candidate's folder."""

    def values(path: str, rows: Rows) -> torch.Tensor:
        loaded = load_model(path, device=CPU)
        items = encode_set(loaded, job, rows, name="any")
        return pass_rows(loaded.model, items, measure=values_of, pad_id=loaded.pad_id, batch_size=4, device=CPU)

    assert job.holdout is not None
    forget, validation = values(folder, job.forget), values(folder, job.holdout)
    return marks_hold(forget, validation, values(job.model.path, job.holdout), marks=marks)


def test_a_run_ends_in_the_first_epoch_in_which_the_marks_hold(model: ModelRef, tmp_path: Path) -> None:
    marks = StopMarks(membership=None)
    candidate = unlearn(_gated(model, marks, rate=3e-4), tmp_path / "out")
    assert candidate.stop_reason == "gates"
    assert 1 < candidate.epochs < 8
    shorter = unlearn(_gated(model, marks, epochs=candidate.epochs - 1, rate=3e-4), tmp_path / "shorter")
    assert shorter.stop_reason == "epochs"
    job = _gated(model, marks)
    assert not _hold(job, shorter.model.path, marks)
    assert _hold(job, candidate.model.path, marks)


def test_marks_that_never_hold_leave_the_epochs_to_end_it(model: ModelRef, tmp_path: Path) -> None:
    never = StopMarks(extraction_strength=0.0, probability=0.0, membership=0.0)
    candidate = unlearn(_gated(model, never, epochs=2), tmp_path / "out")
    assert (candidate.epochs, candidate.stop_reason) == (2, "epochs")


def test_rows_at_their_level_are_left_alone_though_the_marks_do_not_hold(model: ModelRef, tmp_path: Path) -> None:
    """Two-sided: what looks unseen is pushed no further, however long the run has still to go."""
    never = StopMarks(extraction_strength=0.0, probability=0.0, membership=0.0)
    seen: list[Progress] = []
    unlearn(_gated(model, never, epochs=8), tmp_path / "out", progress=seen.append)
    assert seen[0].metrics["active"] == 3
    assert min(progress.metrics["active"] for progress in seen) < 3


def test_patience_counts_epochs_in_a_row(model: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule holds, does not, holds, holds: a patience of two ends after the fourth epoch, of one after the first."""
    for patience, epochs in ((2, 4), (1, 1)):
        answers = iter([True, False, True, True, True, True])
        monkeypatch.setattr(training, "marks_hold", lambda *_, answers=answers, **__: next(answers))
        candidate = unlearn(_gated(model, FREE, patience=patience), tmp_path / str(patience))
        assert (candidate.epochs, candidate.stop_reason) == (epochs, "gates")


def test_patience_holds_for_the_level_of_unseen_rows_too(model: ModelRef, tmp_path: Path) -> None:
    """Rows that nobody was taught, against rows that were: the rule holds at once, and three epochs are waited."""
    settings = TrainingSettings(epochs=9, batch_size=6, learning_rate=1e-6, stop="holdout", patience=3)
    job = tiny_job(model, training=settings, forget=Rows.of(HOLDOUT), holdout=Rows.of(FORGET))
    candidate = unlearn(job, tmp_path / "out")
    assert (candidate.epochs, candidate.stop_reason) == (3, "holdout")

"""The three stages together, on a tiny model that knows its rows: what comes out, and what survives an interruption."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers.models.llama.modeling_llama import LlamaMLP

from pipelines.audit.canonical import digest
from pipelines.audit.manifest import folder_digest
from pipelines.config import LoraSettings, TrainingSettings
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput, TrainingDiverged
from pipelines.methods import METHODS
from pipelines.models.loading import load_model
from pipelines.records import ModelRef
from pipelines.scoring.likelihood import AnswerBatch, AnswerPass, AnswerStats, answer_pass
from pipelines.training import loop as training
from pipelines.training.checkpoints import Checkpoints, load_state, load_trained, save_state, save_trained
from pipelines.training.inputs import TrainingData
from pipelines.training.loop import Progress
from pipelines.training.pairing import PairedBatch, draw_retain, paired_batches
from pipelines.training.stopping import matched_levels, min_k_scores
from pipelines.unlearning import stages as unlearning
from pipelines.unlearning.job import UnlearningJob, encode_set, load_start
from pipelines.unlearning.stages import REFERENCE, export, read_result, reference_statistics, train, unlearn
from tests.jobs import FORGET, HOLDOUT, save_taught, tiny_job
from tests.tiny import save_tiny, tiny_rows

CPU = torch.device("cpu")
LORA = LoraSettings(r=4, alpha=16, dropout=0.1)
HOLDOUT_STOP = TrainingSettings(epochs=8, batch_size=2, learning_rate=4e-4, stop="holdout")
CANARY = "Zanzibarquux"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


def _weights(folder: str | Path) -> dict[str, torch.Tensor]:
    return load_file(Path(folder) / "model.safetensors")


def _scores(job: UnlearningJob, rows: Rows, folder: str | Path) -> torch.Tensor:
    """Mean NLL of each row, one row at a time through the plain model."""
    loaded = load_model(folder, device=CPU)
    values = []
    for item in encode_set(loaded, job, rows, name="any"):
        ids = torch.tensor([item.input_ids])
        with torch.no_grad():
            log_p = loaded.model(ids).logits[0, :-1].log_softmax(-1)
        nll = -log_p.gather(-1, ids[0, 1:, None])[item.answer_start - 1 : item.answer_end - 1]
        values.append(float(nll.mean()))
    return torch.tensor(values)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"retrain", "in_context"}))  # no push: tested apart
def test_forget_answers_become_less_likely(
    model: ModelRef, tmp_path: Path, method: str, lora: LoraSettings | None
) -> None:
    if METHODS[method].adapters == ("always" if lora is None else "never"):
        with pytest.raises(BadInput, match="adapters"):
            tiny_job(model, method=method, lora=lora)
        return
    settings = TrainingSettings(epochs=8, batch_size=2, learning_rate=3e-3)
    # The forget term alone, at equal weight: some methods push softly by default.
    job = tiny_job(model, method=method, params={"gamma": 1.0, "alpha": 0.0}, lora=lora, training=settings)
    candidate = unlearn(job, tmp_path / "out")
    before, after = (_scores(job, job.forget, folder) for folder in (model.path, candidate.model.path))
    assert float(after.mean()) > float(before.mean()) + 0.1
    assert (candidate.steps, candidate.epochs, candidate.stop_reason) == (24, 8, "epochs")
    assert (candidate.method, candidate.parent_digest) == (method, model.digest)
    assert candidate.model.digest == folder_digest(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_the_start_model_is_left_alone(model: ModelRef, tmp_path: Path) -> None:
    unlearn(tiny_job(model), tmp_path / "out")
    assert folder_digest(Path(model.path)) == model.digest


def test_retain_rows_are_held(model: ModelRef, tmp_path: Path) -> None:
    """The same push with and without the retain term: with it, the retain rows stay likelier."""
    settings = TrainingSettings(epochs=4, batch_size=2, learning_rate=2e-3)
    nll = {}
    for alpha in (0.0, 5.0):
        job = tiny_job(model, method="grad_diff", params={"alpha": alpha}, training=settings)
        nll[alpha] = float(_scores(job, job.retain, unlearn(job, tmp_path / str(alpha)).model.path).mean())
    assert nll[5.0] < nll[0.0] / 2


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_same_job_same_bytes(model: ModelRef, tmp_path: Path, lora: LoraSettings | None) -> None:
    digests = {unlearn(tiny_job(model, lora=lora), tmp_path / str(i)).model.digest for i in range(2)}
    assert len(digests) == 1
    assert unlearn(tiny_job(model, lora=lora, seed=4), tmp_path / "other").model.digest not in digests


def test_reference_statistics_are_the_start_models(model: ModelRef, tmp_path: Path) -> None:
    job = tiny_job(model, training=HOLDOUT_STOP)
    reference_statistics(job, tmp_path)
    stored = load_file(tmp_path / REFERENCE)
    tokens = torch.tensor([item.n_answer for item in encode_set(load_start(job), job, job.forget, name="forget")])
    torch.testing.assert_close(
        stored["forget_nll"], _scores(job, job.forget, model.path) * tokens, atol=1e-3, rtol=1e-4
    )
    assert len(stored["forget_score"]) == len(FORGET)
    assert len(stored["holdout_values"]) == len(HOLDOUT)


def test_npo_starts_from_its_own_reference(model: ModelRef, tmp_path: Path) -> None:
    """In the first step S = S_ref, so the loss is (2 / beta) log 2 plus alpha times the retain NLL."""
    seen: list[Progress] = []
    unlearn(tiny_job(model, params={"beta": 0.5, "alpha": 3.0}), tmp_path / "out", progress=seen.append)
    first = seen[0].metrics
    assert first["loss"] == pytest.approx(4 * 0.693147 + 3 * first["retain_nll"], abs=1e-3)


class TestStopRule:
    def test_it_ends_when_the_forget_scores_look_like_the_holdouts(self, model: ModelRef, tmp_path: Path) -> None:
        job = tiny_job(model, training=HOLDOUT_STOP)
        reference_statistics(job, tmp_path)
        result = train(job, tmp_path, reference=tmp_path)
        assert result.stop_reason == "holdout"
        assert 1 < result.epochs < HOLDOUT_STOP.epochs
        assert min(point.active for point in result.curve) < 2
        export(job, tmp_path / "out", trained=tmp_path)
        loaded = load_model(tmp_path / "out", device=CPU)
        scores_N, holdout_M = self._score(job, loaded.ref.path), load_file(tmp_path / REFERENCE)["holdout_values"][:, 0]
        assert bool((scores_N >= matched_levels(scores_N, holdout_M) - 1e-4).all())

    def test_a_resumed_run_uses_the_levels_of_its_checkpoint(self, model: ModelRef, tmp_path: Path) -> None:
        """Every row has reached a level of 0: in the next step those are left of which too much can be extracted.

        Undisturbed, both rows of step 4 are still pushed.
        """
        job, seen = tiny_job(model, training=HOLDOUT_STOP), list[Progress]()
        with pytest.raises(Killed):
            _run(job, tmp_path / "out", kill_at=4)
        latest = Checkpoints(tmp_path / "out.work").latest()
        assert latest is not None
        save_state(latest, load_state(latest).model_copy(update={"levels": (0.0,) * len(FORGET)}))
        unlearn(job, tmp_path / "out", progress=seen.append)
        assert (seen[0].step, seen[0].metrics["active"]) == (4, 1.0)

    def test_the_limit_of_epochs_holds(self, model: ModelRef, tmp_path: Path) -> None:
        slow = HOLDOUT_STOP.model_copy(update={"epochs": 2, "learning_rate": 1e-6})
        candidate = unlearn(tiny_job(model, training=slow), tmp_path / "out")
        assert (candidate.epochs, candidate.stop_reason) == (2, "epochs")

    def _score(self, job: UnlearningJob, folder: str) -> torch.Tensor:
        reloaded = tiny_job(ModelRef(path=folder, digest=folder_digest(Path(folder))), training=job.training)
        reference_statistics(reloaded, Path(folder).parent / "again")
        return load_file(Path(folder).parent / "again" / REFERENCE)["forget_score"]


class Killed(BaseException):
    """Stands for SIGKILL inside the test's own process: nothing of ours catches it."""


def _run(job: UnlearningJob, out: Path, *, kill_at: int | None = None) -> str:
    def watch(progress: Progress) -> None:
        if progress.step == kill_at:
            raise Killed

    return unlearn(job, out, progress=watch).model.digest


@pytest.fixture(scope="module", params=[None, LORA], ids=["full", "lora"])
def resumable(
    request: pytest.FixtureRequest, model: ModelRef, tmp_path_factory: pytest.TempPathFactory
) -> tuple[UnlearningJob, str]:
    """A job with all that has a state: dropout (LoRA), accumulation, schedule, levels; and its undisturbed digest."""
    settings = HOLDOUT_STOP.model_copy(
        update={
            "gradient_accumulation": 2,
            "schedule": "linear",
            "warmup_steps": 2,
            "weight_decay": 0.1,
            "learning_rate": 5e-4,
        }
    )
    job = tiny_job(model, training=settings, lora=request.param, holdout=Rows.of(tiny_rows(6, first=70)))
    return job, _run(job, tmp_path_factory.mktemp("whole") / "out")


@pytest.mark.parametrize("kill_at", [1, 4, 5])
def test_a_killed_run_goes_on_to_the_same_bytes(
    resumable: tuple[UnlearningJob, str], tmp_path: Path, kill_at: int
) -> None:
    """Two steps per epoch: killed before the first checkpoint, at an epoch's end before it is saved, within one."""
    job, whole = resumable
    with pytest.raises(Killed):
        _run(job, tmp_path / "out", kill_at=kill_at)
    assert bool(Checkpoints(tmp_path / "out.work").latest()) == (kill_at > 2)
    assert _run(job, tmp_path / "out") == whole


@pytest.mark.parametrize("resumable", [None], ids=["full"], indirect=True)
@pytest.mark.parametrize("where", ["save_state", "save_trained", "Checkpoints.clear", "save_model"])
def test_killed_while_writing_it_goes_on_to_the_same_bytes(
    resumable: tuple[UnlearningJob, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    job, whole = resumable
    places = {
        "save_state": training,
        "save_trained": training,
        "Checkpoints.clear": Checkpoints,
        "save_model": unlearning,
    }
    calls = iter(range(100))
    name = where.rpartition(".")[2]
    original: Callable[..., object] = getattr(places[where], name)

    def second_call_dies(*args: object, **kwargs: object) -> object:
        if next(calls) == (1 if where.startswith("save_t") or where == "save_state" else 0):
            raise Killed
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(places[where], name, second_call_dies)
        with pytest.raises(Killed):
            _run(job, tmp_path / "out")
    assert _run(job, tmp_path / "out") == whole


def test_sigkill_and_run_again_gives_the_same_bytes(resumable: tuple[UnlearningJob, str], tmp_path: Path) -> None:
    """A real process, really killed in its third step, after the first epoch's checkpoint."""
    job, whole = resumable
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pipelines.config import LoraSettings, TrainingSettings\n"
        "from pipelines.data.rows import Rows\n"
        "from pipelines.records import ModelRef\n"
        "from pipelines.unlearning.stages import unlearn\n"
        "from tests.jobs import tiny_job\n"
        "from tests.tiny import tiny_rows\n"
        "model, training, lora, out = sys.argv[1:]\n"
        "job = tiny_job(ModelRef.model_validate_json(model), training=TrainingSettings.model_validate_json(training),\n"
        "               lora=LoraSettings.model_validate_json(lora) if lora else None,\n"
        "               holdout=Rows.of(tiny_rows(6, first=70)))\n"
        "unlearn(job, Path(out), progress=lambda p: os.kill(os.getpid(), signal.SIGKILL) if p.step == 3 else None)\n"
    )
    arguments = [
        job.model.model_dump_json(),
        job.training.model_dump_json(),
        job.lora.model_dump_json() if job.lora else "",
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, str(tmp_path / "out")],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-500:]
    latest = Checkpoints(tmp_path / "out.work").latest()
    assert latest is not None
    assert latest.name == "checkpoint-2"
    assert _run(job, tmp_path / "out") == whole


def test_another_job_does_not_go_on_from_the_work_of_this_one(model: ModelRef, tmp_path: Path) -> None:
    clean = _run(tiny_job(model, seed=9), tmp_path / "clean")
    with pytest.raises(Killed):
        _run(tiny_job(model), tmp_path / "out", kill_at=4)
    assert _run(tiny_job(model, seed=9), tmp_path / "out") == clean


def test_a_finished_stage_is_not_repeated(model: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = tiny_job(model)
    reference_statistics(job, tmp_path)
    result = train(job, tmp_path, reference=tmp_path)
    monkeypatch.setattr(unlearning, "load_start", lambda job: pytest.fail("the model was loaded again"))
    reference_statistics(job, tmp_path)
    assert train(job, tmp_path, reference=tmp_path) == result == read_result(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [REFERENCE, "trained.safetensors", "training.json"]


class TestDivergence:
    @pytest.fixture
    def broken_after(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
        """Make the loss NaN after so many forward passes."""

        def break_after(passes: int) -> None:
            calls = iter(range(1000))

            def broken(model: torch.nn.Module, batch: AnswerBatch, *, layer: int | None) -> AnswerPass:
                seen = answer_pass(model, batch, layer=layer)
                factor = float("nan") if next(calls) >= passes else 1.0
                return replace(seen, stats=replace(seen.stats, token_nll_BA=seen.stats.token_nll_BA * factor))

            monkeypatch.setattr(training, "answer_pass", broken)

        return break_after

    def test_a_nan_loss_stops_with_its_step_and_keeps_the_last_checkpoint(
        self, model: ModelRef, tmp_path: Path, broken_after: Callable[[int], None]
    ) -> None:
        broken_after(4)
        with pytest.raises(TrainingDiverged, match=r"^step 5: the loss is nan; lower the learning rate$"):
            unlearn(tiny_job(model), tmp_path / "out")
        assert not (tmp_path / "out").exists()
        latest = Checkpoints(tmp_path / "out.work").latest()
        assert latest is not None
        assert latest.name == "checkpoint-3"
        assert all(bool(t.isfinite().all()) for t in load_file(latest / "trained.safetensors").values())

    def test_reckless_ascent_ends_in_divergence_or_a_candidate_but_never_in_nan(
        self, model: ModelRef, tmp_path: Path
    ) -> None:
        wild = TrainingSettings(epochs=4, batch_size=2, learning_rate=1.0, max_grad_norm=1e9)
        try:
            candidate = unlearn(tiny_job(model, method="grad_ascent", training=wild), tmp_path / "out")
        except TrainingDiverged:
            return
        assert all(bool(t.isfinite().all()) for t in _weights(candidate.model.path).values())

    def test_weights_that_are_not_finite_are_never_saved(self, tmp_path: Path) -> None:
        layer = torch.nn.Linear(2, 2)
        with torch.no_grad():
            layer.weight[0, 0] = torch.inf
        with pytest.raises(TrainingDiverged, match="weights of weight are not finite"):
            save_trained(layer, tmp_path / "x.safetensors")
        assert not (tmp_path / "x.safetensors").exists()


class TestLora:
    def test_merging_changes_no_answer(self, model: ModelRef, tmp_path: Path) -> None:
        """The exported plain model gives the logits of the model with its adapters."""
        job = tiny_job(model, lora=LORA, training=TrainingSettings(epochs=2, batch_size=2, learning_rate=1e-2))
        reference_statistics(job, tmp_path)
        train(job, tmp_path, reference=tmp_path)
        adapted = unlearning._trainable(load_start(job), job)
        load_trained(adapted, tmp_path / "trained.safetensors")
        exported = load_model(export(job, tmp_path / "out", trained=tmp_path).model.path, device=CPU)
        ids = torch.randint(3, 200, (2, 12), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            torch.testing.assert_close(exported.model(ids).logits, adapted.eval()(ids).logits, atol=1e-5, rtol=1e-4)
            assert not torch.allclose(exported.model(ids).logits, load_start(job).model(ids).logits, atol=1e-3)
        assert _weights(tmp_path / "out").keys() == _weights(model.path).keys()

    def test_only_adapters_are_in_the_checkpoint(self, model: ModelRef, tmp_path: Path) -> None:
        job = tiny_job(model, lora=LORA)
        reference_statistics(job, tmp_path)
        train(job, tmp_path, reference=tmp_path)
        assert all("lora_" in name for name in load_file(tmp_path / "trained.safetensors"))

    def test_unknown_modules_are_refused(self, model: ModelRef, tmp_path: Path) -> None:
        job = tiny_job(model, lora=LoraSettings(target_modules=("no_such",)))
        with pytest.raises(BadInput, match=r"lora\.target_modules"):
            unlearn(job, tmp_path / "out")


@pytest.mark.parametrize("lora", [None, LoraSettings(r=4)], ids=["full", "lora"])
def test_gradient_checkpointing_trains_the_same_weights(
    model: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: LoraSettings | None
) -> None:
    """It really recomputes: every layer runs forward twice per step instead of once."""
    calls: list[str] = []
    forward: Callable[[LlamaMLP, torch.Tensor], torch.Tensor] = LlamaMLP.forward

    def counted(mlp: LlamaMLP, x: torch.Tensor) -> torch.Tensor:
        if mlp.training:
            calls.append(run)
        return forward(mlp, x)

    monkeypatch.setattr(LlamaMLP, "forward", counted)
    weights = {}
    for run, thrifty in (("plain", False), ("thrifty", True)):
        settings = TrainingSettings(epochs=2, batch_size=2, learning_rate=1e-3, gradient_checkpointing=thrifty)
        candidate = unlearn(tiny_job(model, lora=lora, training=settings), tmp_path / run)
        weights[run] = _weights(candidate.model.path)
    assert calls.count("thrifty") == 2 * calls.count("plain") == 24
    start = _weights(model.path)
    for name, tensor in weights["plain"].items():
        torch.testing.assert_close(weights["thrifty"][name], tensor, atol=1e-5, rtol=1e-4)
        if name.endswith("_proj.weight"):  # what adapters sit on
            assert not torch.allclose(weights["thrifty"][name], start[name], atol=1e-4)


def test_accumulated_batches_are_one_larger_batch(model: ModelRef, tmp_path: Path) -> None:
    """Plain ascent has no state per batch: three batches of two, accumulated, are the mean over six rows."""
    weights = []
    for size, accumulated in ((2, 3), (6, 1)):
        settings = TrainingSettings(epochs=1, batch_size=size, gradient_accumulation=accumulated, learning_rate=1e-3)
        job = tiny_job(model, method="grad_ascent", training=settings)
        weights.append(_weights(unlearn(job, tmp_path / str(size)).model.path))
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], atol=2e-5, rtol=1e-3)


def test_stored_precision_is_kept(tmp_path: Path) -> None:
    save_tiny(tmp_path / "m")
    load_model(tmp_path / "m", device=CPU, dtype=torch.bfloat16).model.save_pretrained(tmp_path / "m")
    ref = ModelRef(path=str(tmp_path / "m"), digest=folder_digest(tmp_path / "m"))
    for lora in (None, LORA):
        candidate = unlearn(tiny_job(ref, lora=lora), tmp_path / f"out {lora is None}")
        assert {t.dtype for t in _weights(candidate.model.path).values()} == {torch.bfloat16}
        assert candidate.model.digest != ref.digest


class TestBadInput:
    def test_empty_sets_are_refused(self, model: ModelRef) -> None:
        empty = Rows.of([])
        with pytest.raises(BadInput, match="forget set: no rows"):
            tiny_job(model, forget=empty)
        with pytest.raises(BadInput, match="retain set: no rows"):
            tiny_job(model, retain=empty)
        with pytest.raises(BadInput, match="no holdout rows"):
            tiny_job(model, holdout=None, training=HOLDOUT_STOP)
        assert tiny_job(model, method="grad_ascent", retain=empty).params.alpha == 0

    def test_parameters_of_another_method_are_refused(self, model: ModelRef) -> None:
        with pytest.raises(BadInput, match="method npo: parameters must be NPOParams"):
            replace(tiny_job(model), params=METHODS["grad_diff"].params())

    def test_a_changed_start_model_is_refused(self, model: ModelRef, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="is the model that was meant"):
            unlearn(tiny_job(ModelRef(path=model.path, digest="0" * 64)), tmp_path / "out")

    def test_an_existing_folder_is_not_overwritten(self, model: ModelRef, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="exists already"):
            unlearn(tiny_job(model), tmp_path)

    @pytest.mark.parametrize("name", ["forget", "retain", "holdout"])
    def test_a_row_that_is_too_long_is_named_without_its_text(self, model: ModelRef, tmp_path: Path, name: str) -> None:
        rows = Rows.of([*tiny_rows(5, first=40), Row(question="Who?", answer=CANARY * 100)])
        changes: dict[str, Any] = {name: rows}
        with pytest.raises(BadInput) as caught:
            unlearn(replace(tiny_job(model, training=HOLDOUT_STOP), **changes), tmp_path / "out")
        assert str(caught.value).startswith(f"{name} set: row 5: 1207 tokens, but the model's context holds 256")
        error: BaseException | None = caught.value
        while error is not None:
            assert CANARY not in f"{error} {error!r}"
            error = error.__cause__ or error.__context__

    def test_a_single_token_with_nothing_before_it_is_refused(self, model: ModelRef, tmp_path: Path) -> None:
        job = tiny_job(model, forget=Rows.of([Row(question="", answer="x")]))
        loaded = load_start(job)
        loaded.tokenizer.bos_token = None
        with pytest.raises(BadInput, match="forget set: row 0: one token with nothing before it"):
            encode_set(loaded, job, job.forget, name="forget")


@pytest.mark.parametrize(
    "where",
    [
        "pipelines.unlearning.reference.save_file",
        "pipelines.training.loop.save_trained",
        "pipelines.models.loading.shutil.copyfile",
    ],
)
def test_a_full_disk_loses_nothing(
    model: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """One clear line; nothing half-written; after making room the run goes on to the bytes of an undisturbed one."""
    whole = _run(tiny_job(model), tmp_path / "whole")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(BadInput, match="no space left on the device"):
            _run(tiny_job(model), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("*.part"))
    assert _run(tiny_job(model), tmp_path / "out") == whole


def test_nothing_written_before_the_candidate_holds_text(model: ModelRef, tmp_path: Path) -> None:
    rows = Rows.of([Row(question=f"Who is {CANARY}?", answer=f"{CANARY} {i}.") for i in range(4)])
    job = tiny_job(model, forget=rows)
    with pytest.raises(Killed):
        _run(job, tmp_path / "out", kill_at=3)
    unlearn(job, tmp_path / "out")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if CANARY.encode() in path.read_bytes()]
    assert CANARY not in repr(job)


def test_two_checkpoints_are_kept(model: ModelRef, tmp_path: Path) -> None:
    settings = TrainingSettings(epochs=5, batch_size=6, learning_rate=1e-3)
    with pytest.raises(Killed):
        _run(tiny_job(model, training=settings), tmp_path / "out", kill_at=5)
    assert {path.name for path in (tmp_path / "out.work").glob("checkpoint-*")} == {"checkpoint-3", "checkpoint-4"}


def test_the_recorded_pairing_is_what_ran_and_can_be_drawn_again(
    model: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the rows' lengths and the seed alone; another seed gives another."""
    job, ran = tiny_job(model), list[PairedBatch]()
    read = TrainingData.members

    def noted(data: TrainingData, pair: PairedBatch, *, epoch: int) -> dict[str, tuple[int, ...]]:
        ran.append(pair)
        return read(data, pair, epoch=epoch)

    monkeypatch.setattr(TrainingData, "members", noted)
    reference_statistics(job, tmp_path)
    recorded = train(job, tmp_path, reference=tmp_path).pairing
    loaded = load_start(job)
    forget, retain = (encode_set(loaded, job, rows, name="either") for rows in (job.forget, job.retain))

    def again(seed: int) -> list[list[PairedBatch]]:
        drawn = draw_retain(len(retain), per_epoch=len(forget), epochs=2, seed=seed)
        return [
            paired_batches(forget, dict(enumerate(retain)), drawn=rows, batch_size=2, seed=seed, epoch=epoch)
            for epoch, rows in enumerate(drawn)
        ]

    def digest_of(epochs: list[list[PairedBatch]]) -> str:
        return digest([[[list(pair.forget), list(pair.retain)] for pair in epoch] for epoch in epochs])

    assert ran == [pair for epoch in again(job.seed) for pair in epoch]
    assert recorded == digest_of(again(job.seed)) != digest_of(again(job.seed + 1))


def test_progress_tells_steps_epochs_and_numbers(model: ModelRef, tmp_path: Path) -> None:
    seen: list[Progress] = []
    unlearn(tiny_job(model), tmp_path / "out", progress=seen.append)
    assert [(p.step, p.total, p.epoch) for p in seen] == [
        (1, 6, 1),
        (2, 6, 1),
        (3, 6, 1),
        (4, 6, 2),
        (5, 6, 2),
        (6, 6, 2),
    ]
    assert set(seen[0].metrics) == {"loss", "forget_nll", "retain_nll", "active", "grad_norm", "learning_rate"}
    assert [p.metrics["active"] for p in seen] == [2.0] * 6


def test_the_score_is_the_one_membership_reads() -> None:
    """Ten tokens of NLL 1..10: the four hardest are 7, 8, 9, 10, mean 8.5."""
    nll = torch.arange(1.0, 11.0).unsqueeze(0)
    assert float(min_k_scores(AnswerStats(token_nll_BA=nll, mask_BA=torch.ones_like(nll, dtype=torch.bool)))) == 8.5

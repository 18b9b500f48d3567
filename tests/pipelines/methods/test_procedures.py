"""Methods that are not one loop: against the same made by hand from the engine's stages, and after an interruption."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines.data.encode import Encoded, encode
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.methods import task_vector
from pipelines.methods.base import CompanionSource
from pipelines.methods.sku import SKUParams, other_answers
from pipelines.models.loading import load_model
from pipelines.records import ModelRef
from pipelines.settings import LoraSettings, TrainingSettings
from pipelines.training.checkpoints import WEIGHTS
from pipelines.training.finetune import FineTuneSettings, fine_tune
from pipelines.training.loop import Progress
from pipelines.unlearning.job import UnlearningJob, encode_set, load_start
from pipelines.unlearning.stages import train, unlearn
from tests.jobs import FORGET, PROMPT, RETAIN, save_taught, tiny_job
from tests.tiny import CONTEXT, save_tiny, tiny_tokenizer

CPU = torch.device("cpu")
LORA = LoraSettings(r=4, alpha=16)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """The model before it was taught."""
    folder = save_tiny(tmp_path_factory.mktemp("base") / "model")
    return load_model(folder, device=CPU).ref


class Killed(BaseException):
    """Stands for SIGKILL inside the test's own process."""


def _mean_nll(job: UnlearningJob, rows: Rows, folder: str) -> float:
    loaded = load_model(folder, device=CPU)
    values = []
    for item in encode_set(loaded, job, rows, name="any"):
        ids = torch.tensor([item.input_ids])
        with torch.no_grad():
            log_p = loaded.model(ids).logits[0, :-1].log_softmax(-1)
        values.append(float(-log_p.gather(-1, ids[0, 1:, None])[item.answer_start - 1 : item.answer_end - 1].mean()))
    return sum(values) / len(values)


def test_task_vector_is_the_overfit_model_mirrored_at_the_start(model: ModelRef, tmp_path: Path) -> None:
    """The candidate's weights are theta + s (theta - theta_overfit), the overfit model trained apart."""
    job = tiny_job(model, method="task_vector", params={"scale": 2.0})
    out = unlearn(job, tmp_path / "out")
    overfit = unlearn(replace(job, method=task_vector.OVERFIT), tmp_path / "overfit")
    start, mirrored, learnt = (
        load_file(Path(folder) / "model.safetensors") for folder in (model.path, out.model.path, overfit.model.path)
    )
    for name, before in start.items():
        torch.testing.assert_close(mirrored[name], 3 * before - 2 * learnt[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("method", "lora"), [("task_vector", None), ("sku", LORA)], ids=["full", "lora"])
def test_a_killed_subtraction_goes_on_to_the_same_bytes(
    model: ModelRef, tmp_path: Path, method: str, lora: LoraSettings | None
) -> None:
    def die(progress: Progress) -> None:
        if progress.step == 5:  # the second step of the second epoch: there is a checkpoint to go on from
            raise Killed

    job = tiny_job(model, method=method, lora=lora)
    with pytest.raises(Killed):
        unlearn(job, tmp_path / "out", progress=die)
    seen: list[Progress] = []
    resumed = unlearn(job, tmp_path / "out", progress=seen.append)
    assert [progress.step for progress in seen] == [4, 5, 6]
    assert resumed.model.digest == unlearn(job, tmp_path / "whole").model.digest


def test_by_the_holdout_rule_the_step_ends_where_rows_look_untrained(model: ModelRef, tmp_path: Path) -> None:
    """A scale of 20 would go far beyond; a tiny one does not get there, and says so."""
    settings = TrainingSettings(epochs=4, batch_size=2, learning_rate=1e-3, stop="holdout")
    found = {}
    for scale in (0.001, 20.0):
        job = tiny_job(model, method="task_vector", params={"scale": scale}, training=settings)
        found[scale] = unlearn(job, tmp_path / str(scale))
    free = tiny_job(
        model, method="task_vector", params={"scale": 20.0}, training=settings.model_copy(update={"stop": "epochs"})
    )
    unbounded = _mean_nll(free, free.forget, unlearn(free, tmp_path / "free").model.path)
    held = _mean_nll(free, free.forget, found[20.0].model.path)
    assert (found[0.001].stop_reason, found[20.0].stop_reason) == ("epochs", "holdout")
    assert free.holdout is not None
    untrained = _mean_nll(free, free.holdout, model.path)
    assert 0.6 * untrained < held < min(unbounded, 2 * untrained)


def test_sku_mixes_questions_with_other_rows_answers(model: ModelRef) -> None:
    job = tiny_job(model, training=TrainingSettings(epochs=2, batch_size=2, wordings=True))
    kept: list[Row] = []

    def note(rows: Sequence[Row]) -> list[Encoded]:
        kept.extend(rows)
        return []

    source = CompanionSource(
        forget=job.pushed, retain=job.retain, start=load_start(job), encode=note, n_rows=len(job.forget), seed=3
    )
    other_answers(source, SKUParams())
    first = list(kept)
    other_answers(source, SKUParams())
    assert kept[len(first) :] == first
    answers = {row.answer for row in FORGET}
    for pushed, mixed in zip(job.pushed, first, strict=True):
        assert mixed.question == pushed.question
        assert mixed.answer in answers
        own = next(row for row in FORGET if pushed.answer in {row.answer, row.paraphrased_answer})
        assert mixed.answer != own.answer


def test_retrain_is_plain_fine_tuning_of_the_base_on_what_is_kept(
    model: ModelRef, base: ModelRef, tmp_path: Path
) -> None:
    """One step over all retain rows, of the mean over rows here and over tokens there: rows of equal length agree."""
    rows = [row for row in RETAIN if len(row.answer) == len(RETAIN[0].answer)][:4]
    settings = TrainingSettings(epochs=3, batch_size=len(rows), learning_rate=1e-3)
    params = {"base": base.path, "base_digest": base.digest}
    job = tiny_job(model, method="retrain", training=settings, retain=Rows.of(rows))
    job = replace(job, params=job.params.model_copy(update=params))
    candidate = unlearn(job, tmp_path / "out")
    by_hand, tokenizer = load_model(base.path, device=CPU).model, tiny_tokenizer()
    items = [
        encode(tokenizer, row.question, row.answer, prompt_format=PROMPT, max_length=CONTEXT, row=0) for row in rows
    ]
    fine_tune(
        by_hand,
        items,
        settings=FineTuneSettings(
            epochs=3, batch_size=len(rows), learning_rate=1e-3, warmup=0.0, schedule="constant_with_warmup"
        ),
    )
    found = load_file(Path(candidate.model.path) / "model.safetensors")
    for name, weight in by_hand.named_parameters():
        torch.testing.assert_close(found[name], weight.detach(), atol=2e-4, rtol=1e-3)
    assert (candidate.steps, candidate.epochs) == (3, 3)


@pytest.mark.slow
def test_a_retrained_model_does_not_know_the_forget_rows(model: ModelRef, base: ModelRef, tmp_path: Path) -> None:
    settings = TrainingSettings(epochs=40, batch_size=10, learning_rate=1e-2)
    params = {"base": base.path, "base_digest": base.digest}
    job = tiny_job(model, method="retrain", training=settings)
    job = replace(job, params=job.params.model_copy(update=params))
    out = unlearn(job, tmp_path / "out").model.path
    assert job.holdout is not None
    forget, kept, never = (_mean_nll(job, rows, out) for rows in (job.forget, job.retain, job.holdout))
    assert kept < 0.5 * forget
    assert forget == pytest.approx(never, rel=0.35)


def test_a_retraining_cut_after_its_weights_moved_is_finished(model: ModelRef, tmp_path: Path) -> None:
    job = tiny_job(model, method="retrain")
    whole = train(job, tmp_path / "whole", reference=tmp_path / "whole")
    cut = tmp_path / "cut"
    train(job, cut, reference=cut)
    weights = (cut / WEIGHTS).read_bytes()
    (cut / "training.json").unlink()
    (cut / "retrained").mkdir()
    (cut / "retrained" / "training.json").write_bytes((tmp_path / "whole" / "training.json").read_bytes())
    assert train(job, cut, reference=cut) == whole
    assert (cut / WEIGHTS).read_bytes() == weights


class TestRetrainIsRefused:
    def _job(self, model: ModelRef, **params: str) -> UnlearningJob:
        job = tiny_job(model, method="retrain")
        return replace(job, params=job.params.model_copy(update=params))

    def test_without_a_base_model(self, model: ModelRef) -> None:
        with pytest.raises(BadInput, match="no base model; set base"):
            self._job(model, base="")

    def test_with_another_digest_than_the_bases(self, model: ModelRef, base: ModelRef) -> None:
        with pytest.raises(BadInput, match=f"has digest {base.digest}, but base_digest is nothing"):
            self._job(model, base=base.path, base_digest="")

    def test_with_another_architecture(self, model: ModelRef, base: ModelRef, tmp_path: Path) -> None:
        other = save_tiny(tmp_path / "other")
        config = other / "config.json"
        config.write_text(config.read_text().replace('"intermediate_size": 64', '"intermediate_size": 48'))
        from pipelines.audit.manifest import folder_digest

        with pytest.raises(BadInput, match=r"config.json of base .* differs"):
            self._job(model, base=str(other), base_digest=folder_digest(other))

    def test_with_a_stop_rule_that_looks_at_forget_rows(self, model: ModelRef) -> None:
        with pytest.raises(BadInput, match="allowed are stop 'epochs'"):
            tiny_job(model, method="retrain", training=TrainingSettings(stop="holdout"))

"""From a start model and two sets of rows to a candidate model, in three stages that can each be resumed.

``reference_statistics`` asks the start model once about the forget rows (and the holdout), ``train`` runs the loop,
``export`` writes the candidate as a model folder like the one it came from. Each reads what the one before wrote and
loads its own model; none holds two. What the stages write before the candidate belongs into the vault: it has seen the
forget set. Whether anything was forgotten is measured elsewhere, from the candidate's folder.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pipelines.adapters import add_adapters, merge_adapters
from pipelines.audit.canonical import canonical, digest, parse_strict
from pipelines.checkpoints import WEIGHTS, Checkpoints, CurvePoint, load_trained
from pipelines.data.encode import Encoded
from pipelines.errors import BadInput
from pipelines.likelihood import AnswerStats, score_rows
from pipelines.models import LoadedModel, full_disk_refused, resolve_device, save_model
from pipelines.pairing import draw_retain
from pipelines.records import Candidate, Record
from pipelines.stopping import min_k_scores
from pipelines.training import Progress, run_loop
from pipelines.training_data import Loop, TrainingData, epoch_batches
from pipelines.unlearning_job import UnlearningJob, encode_set, load_start

REFERENCE = "reference.safetensors"
RESULT = "training.json"
_JOB = "job.json"


class TrainingResult(Record):
    """What training did.

    Attributes:
        steps: optimiser steps.
        epochs: passes over the forget set.
        stop_reason: ``epochs`` (the limit was reached) or ``holdout`` (all rows are at the level of untrained ones).
        curve: one point per step.
        pairing: digest of every batch's positions in both sets, in order; they follow from the seed.
    """

    steps: int
    epochs: int
    stop_reason: str
    curve: tuple[CurvePoint, ...]
    pairing: str


def reference_statistics(job: UnlearningJob, folder: Path) -> None:
    """Write what the start model says of the forget rows, and of the holdout rows where the stop rule needs them.

    Args:
        job: the run.
        folder: receives :data:`REFERENCE`; if that is there already, nothing is done.

    Raises:
        BadInput: the model or a row cannot be used, or there is no space left on the device.
    """
    path = folder / REFERENCE
    if path.exists():
        return
    loaded = load_start(job)
    forget = encode_set(loaded, job, job.pushed, name="forget")
    nll_and_score = _score(loaded, forget, job, lambda stats: torch.stack([stats.nll_sum_B, min_k_scores(stats)], 1))
    tensors = {"forget_nll": nll_and_score[:, 0].contiguous(), "forget_score": nll_and_score[:, 1].contiguous()}
    if job.training.stop == "holdout" and job.holdout is not None:
        holdout = encode_set(loaded, job, job.holdout, name="holdout")
        tensors["holdout_score"] = _score(loaded, holdout, job, min_k_scores)
    part = path.with_name(path.name + ".part")
    with full_disk_refused(part):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part)
        part.replace(path)


def train(
    job: UnlearningJob, folder: Path, *, reference: Path, progress: Callable[[Progress], None] | None = None
) -> TrainingResult:
    """Run the loop to its end, from the newest checkpoint in ``folder`` where there is one.

    Args:
        job: the run.
        folder: checkpoints while it runs; at the end :data:`RESULT` and the trained weights alone. If those are there,
            nothing is done.
        reference: folder that ``reference_statistics`` filled.
        progress: told of every optimiser step.

    Raises:
        TrainingDiverged: names the step; the last good checkpoint stays in ``folder``.
        BadInput: the model or a row cannot be used, or there is no space left on the device.
    """
    result_path = folder / RESULT
    if not result_path.exists():
        result = _train(job, folder, reference=reference, progress=progress)
        part = result_path.with_name(result_path.name + ".part")
        with full_disk_refused(part):
            part.write_bytes(canonical(result.plain()))
            part.replace(result_path)
    # In this order a kill at any point leaves either a checkpoint to go on from or a result with its weights.
    latest = Checkpoints(folder).latest()
    if latest is not None and (latest / WEIGHTS).exists():
        (latest / WEIGHTS).replace(folder / WEIGHTS)
    Checkpoints(folder).clear()
    return read_result(folder)


def read_result(folder: Path) -> TrainingResult:
    """What ``train`` wrote into its folder."""
    return TrainingResult.model_validate(parse_strict((folder / RESULT).read_bytes()))


def export(job: UnlearningJob, out: Path, *, trained: Path) -> Candidate:
    """Write the candidate: the start model's folder with the trained weights in it, adapters merged.

    Args:
        job: the run.
        out: model folder to make, in the start model's element type; written under ``<out>.part`` and renamed. Must not
            exist.
        trained: folder that ``train`` filled.

    Raises:
        BadInput: ``out`` exists, the start model has changed, or there is no space left on the device.
    """
    result = read_result(trained)
    loaded = load_start(job)
    model = _trainable(loaded, job)
    load_trained(model, trained / WEIGHTS)
    plain = loaded.model if job.lora is None else merge_adapters(model)
    nn.Module.to(plain, dtype=loaded.stored_dtype)
    ref = save_model(plain, out, like=Path(job.model.path))
    return Candidate(
        model=ref,
        parent_digest=job.model.digest,
        method=job.method.name,
        method_version=job.method.version,
        params_digest=job.params.content_digest(),
        steps=result.steps,
        epochs=result.epochs,
        stop_reason=result.stop_reason,
    )


def unlearn(job: UnlearningJob, out: Path, *, progress: Callable[[Progress], None] | None = None) -> Candidate:
    """All three stages. Interrupted and called again, it goes on where it was; its work folder is removed at the end.

    Args:
        job: the run.
        out: model folder to make; ``<out>.work`` beside it holds the work in progress.
        progress: told of every optimiser step.

    Raises:
        BadInput: ``out`` exists, the model or a row cannot be used, or there is no space left on the device.
        TrainingDiverged: the loss stopped being a finite number.
    """
    if out.exists():
        raise BadInput(f"{out}: exists already; name a folder that does not")
    work = out.with_name(out.name + ".work")
    identity = canonical({"identity": job.identity})
    if work.exists() and not ((work / _JOB).is_file() and (work / _JOB).read_bytes() == identity):
        shutil.rmtree(work)
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with full_disk_refused(work / _JOB):
        (work / _JOB).write_bytes(identity)
    try:
        reference_statistics(job, work)
        train(job, work, reference=work, progress=progress)
    except BadInput:
        if Checkpoints(work).latest() is None:  # nothing that another run could go on from
            shutil.rmtree(work)
        raise
    candidate = export(job, out, trained=work)
    shutil.rmtree(work)
    return candidate


def _trainable(loaded: LoadedModel, job: UnlearningJob) -> nn.Module:
    return loaded.model if job.lora is None else add_adapters(loaded.model, job.lora, seed=job.seed)


def _train(
    job: UnlearningJob, folder: Path, *, reference: Path, progress: Callable[[Progress], None] | None
) -> TrainingResult:
    loaded = load_start(job)
    data = _training_data(loaded, job, load_file(reference / REFERENCE))
    loop = Loop(
        method=job.method, params=job.params, settings=job.training, seed=job.seed, device=resolve_device(job.device)
    )
    state = run_loop(_trainable(loaded, job), data=data, loop=loop, folder=folder, progress=progress)
    if state.stop_reason is None:
        raise ValueError(f"training ended after {state.epochs} epochs without a stop reason")
    return TrainingResult(
        steps=len(state.curve),
        epochs=state.epochs,
        stop_reason=state.stop_reason,
        curve=state.curve,
        pairing=_pairing_digest(data, job, epochs=state.epochs),
    )


def _training_data(loaded: LoadedModel, job: UnlearningJob, reference: Mapping[str, torch.Tensor]) -> TrainingData:
    drawn = draw_retain(
        len(job.retain) if job.params.alpha else 0, per_epoch=len(job.pushed), epochs=job.training.epochs, seed=job.seed
    )
    wanted = sorted({i for epoch in drawn for i in epoch})
    retain = encode_set(loaded, job, job.retain.select(wanted), name="retain", positions=wanted)
    return TrainingData(
        forget=encode_set(loaded, job, job.pushed, name="forget"),
        retain=dict(zip(wanted, retain, strict=True)),
        drawn=drawn,
        n_rows=len(job.forget),
        reference_nll_N=reference["forget_nll"],
        scores_N=reference["forget_score"],
        holdout_M=reference.get("holdout_score"),
        pad_id=loaded.pad_id,
    )


def _pairing_digest(data: TrainingData, job: UnlearningJob, *, epochs: int) -> str:
    drawn = [epoch_batches(data, epoch=e, batch_size=job.training.batch_size, seed=job.seed) for e in range(epochs)]
    return digest([[[list(pair.forget), list(pair.retain)] for pair in epoch] for epoch in drawn])


def _score(
    loaded: LoadedModel, items: list[Encoded], job: UnlearningJob, measure: Callable[[AnswerStats], torch.Tensor]
) -> torch.Tensor:
    return score_rows(
        loaded.model,
        items,
        measure=measure,
        pad_id=loaded.pad_id,
        batch_size=2 * job.training.batch_size,
        device=resolve_device(job.device),
    )

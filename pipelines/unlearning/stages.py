"""From a start model and two sets of rows to a candidate model, in three stages that can each be resumed.

``reference_statistics`` asks the start model once about the forget rows (and the holdout), ``train`` runs the loop,
``export`` writes the candidate as a model folder like the one it came from. Each reads what the one before wrote and
loads its own model; none holds two. What the stages write before the candidate belongs into the vault: it has seen the
forget set. Whether anything was forgotten is measured elsewhere, from the candidate's folder.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch import nn

from pipelines.audit.canonical import canonical, digest, parse_strict
from pipelines.errors import BadInput
from pipelines.methods.base import Method, Procedure
from pipelines.models.adapters import add_adapters, layer_patterns, merge_adapters, train_only
from pipelines.models.loading import LoadedModel, full_disk_refused, resolve_device, save_model
from pipelines.records import Candidate
from pipelines.training.checkpoints import WEIGHTS, Checkpoints, load_trained
from pipelines.training.inputs import Loop, TrainingData, epoch_batches
from pipelines.training.loop import Progress, run_loop
from pipelines.training.masks import MASK, mask_facts
from pipelines.unlearning.adapter_fusion import AdapterFacts, keep_adapter
from pipelines.unlearning.job import UnlearningJob, encode_set, load_start
from pipelines.unlearning.procedures import Stages, TrainingResult
from pipelines.unlearning.reference import REFERENCE, depth_of, prepared, reference_statistics, training_data

__all__ = ["REFERENCE", "TrainingResult", "export", "read_result", "reference_statistics", "train", "unlearn"]

RESULT = "training.json"
_JOB = "job.json"


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
        result = train_loop(job, folder, reference=reference, progress=progress)
        part = result_path.with_name(result_path.name + ".part")
        with full_disk_refused(part):
            part.write_bytes(canonical(result.plain()))
            part.replace(result_path)
    # In this order a kill at any point leaves either a checkpoint to go on from or a result with its weights.
    latest = Checkpoints(folder).latest()
    if latest is not None and (latest / WEIGHTS).exists():
        (latest / WEIGHTS).replace(folder / WEIGHTS)
    Checkpoints(folder).clear()
    for inner in [path for path in folder.iterdir() if path.is_dir()]:  # a procedure's trainings
        shutil.rmtree(inner)
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
    if isinstance(job.method, Procedure) and job.method.export is not None:
        ref = job.method.export(job, out, trained)
    else:
        loaded = with_weights(job, trained / WEIGHTS)
        nn.Module.to(loaded.model, dtype=loaded.stored_dtype)
        ref = save_model(loaded.model, out, like=Path(job.model.path))
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


def with_weights(job: UnlearningJob, weights: Path) -> LoadedModel:
    """The start model with trained weights in it, adapters merged; in memory, under the start model's digest.

    Args:
        job: the run.
        weights: what a training or one of its checkpoints wrote.
    """
    loaded = load_start(job)
    model = _trainable(loaded, job)
    load_trained(model, weights)
    return loaded if job.lora is None else replace(loaded, model=merge_adapters(model))


def unlearn(
    job: UnlearningJob,
    out: Path,
    *,
    progress: Callable[[Progress], None] | None = None,
    adapter: Path | None = None,
) -> Candidate:
    """All three stages. Interrupted and called again, it goes on where it was; its work folder is removed at the end.

    Args:
        job: the run.
        out: model folder to make; ``<out>.work`` beside it holds the work in progress.
        progress: told of every optimiser step.
        adapter: folder to keep the adapter in, so that it can be fused with those of other requests; None keeps none.

    Raises:
        BadInput: ``out`` exists, the model or a row cannot be used, or there is no space left on the device.
        TrainingDiverged: the loss stopped being a finite number.
    """
    if adapter is not None and job.lora is None:
        raise BadInput(f"{adapter}: no adapter is trained; give lora settings")
    work = open_work(job, out)
    with _resumable_or_gone(work):
        train(job, work, reference=work, progress=progress)
    if adapter is not None:
        _keep(job, work, adapter)
    candidate = export(job, out, trained=work)
    if isinstance(job.method, Procedure) and job.method.keeps is not None:
        kept = out.with_name(out.name + ".context")
        kept.mkdir(mode=0o700, exist_ok=True)
        (work / job.method.keeps).replace(kept / job.method.keeps)
    shutil.rmtree(work)
    return candidate


def _keep(job: UnlearningJob, work: Path, adapter: Path) -> None:
    if job.lora is None:
        raise ValueError("an adapter is to be kept, but none was trained")
    loaded = load_start(job)
    model = _trainable(loaded, job)
    load_trained(model, work / WEIGHTS)
    facts = AdapterFacts(start=job.model.digest, lora=job.lora, method=job.method.name, rows=len(job.forget))
    keep_adapter(model, encode_set(loaded, job, job.forget, name="forget"), facts=facts, out=adapter)


def open_work(job: UnlearningJob, out: Path) -> Path:
    """The folder of the work in progress, with what the start model says in it. Raises BadInput as :func:`unlearn`."""
    if out.exists():
        raise BadInput(f"{out}: exists already; name a folder that does not")
    work = out.with_name(out.name + ".work")
    identity = canonical({"identity": job.identity})
    if work.exists() and not ((work / _JOB).is_file() and (work / _JOB).read_bytes() == identity):
        shutil.rmtree(work)
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with full_disk_refused(work / _JOB):
        (work / _JOB).write_bytes(identity)
    with _resumable_or_gone(work):
        reference_statistics(job, work)
    return work


@contextmanager
def _resumable_or_gone(work: Path) -> Iterator[None]:
    """After a refusal the folder stays only where another run could go on from it."""
    try:
        yield
    except BadInput:
        if Checkpoints(work).latest() is None:
            shutil.rmtree(work)
        raise


def _trainable(loaded: LoadedModel, job: UnlearningJob) -> nn.Module:
    model = loaded.model if job.lora is None else add_adapters(loaded.model, job.lora, seed=job.seed)
    if isinstance(job.method, Method) and job.method.trains is not None:
        train_only(model, job.method.trains(job.params, depth_of(loaded)))
    if job.training.layers:
        train_only(model, layer_patterns(job.training.layers))
    return model


def train_loop(
    job: UnlearningJob, folder: Path, *, reference: Path, progress: Callable[[Progress], None] | None
) -> TrainingResult:
    """The loop alone, its checkpoints left where they are; several processes call it together."""
    if isinstance(job.method, Procedure):
        return job.method.run(job, folder, _stages(progress))
    loaded = load_start(job)
    data = training_data(loaded, job, reference / REFERENCE)
    loop = Loop(
        method=job.method,
        params=job.params,
        settings=job.training,
        seed=job.seed,
        device=resolve_device(job.device),
        marks=job.marks,
    )
    model = _trainable(loaded, job)
    hooks = [part.hooks(model, prepared(reference / REFERENCE, part.name)) for part in job.parts]
    masked = prepared(reference / REFERENCE, MASK)
    mask = mask_facts(masked, model) if masked else None
    state = run_loop(model, data=data, loop=loop, folder=folder, hooks=hooks, progress=progress)
    if state.stop_reason is None:
        raise ValueError(f"training ended after {state.epochs} epochs without a stop reason")
    return TrainingResult(
        steps=len(state.curve),
        epochs=state.epochs,
        stop_reason=state.stop_reason,
        curve=state.curve,
        pairing=_pairing_digest(data, job, epochs=state.epochs),
        mask=mask,
    )


def _stages(progress: Callable[[Progress], None] | None) -> Stages:
    def trained(job: UnlearningJob, folder: Path) -> TrainingResult:
        reference_statistics(job, folder)
        return train(job, folder, reference=folder, progress=progress)

    return Stages(start=lambda job: _trainable(load_start(job), job), train=trained)


def _pairing_digest(data: TrainingData, job: UnlearningJob, *, epochs: int) -> str:
    batches = [epoch_batches(data, epoch=e, batch_size=job.training.batch_size, seed=job.seed) for e in range(epochs)]
    return digest([[[list(pair.forget), list(pair.retain)] for pair in epoch] for epoch in batches])

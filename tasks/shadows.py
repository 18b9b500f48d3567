"""Shadow models of a run: made by the evaluator where the policy lets them stand in for a retrained model.

One step per shadow, in the vault: an interrupted run goes on at the first that is missing. The first shadow plays the
reference for what reads a single model; gaps are held against all of them.
"""

import shutil
from pathlib import Path

from pipelines.errors import BadInput
from pipelines.evaluation.shadow import ShadowJob, train_shadow
from pipelines.models.loading import resolve_device
from pipelines.records import ModelRef
from tasks.device import device_slot
from tasks.intake import taken_in
from tasks.progress import Progress
from tasks.scope import set_rows
from tasks.stage import stage
from tasks.surrogate import has_shadows, shadow_settings
from tasks.workspace import RunContext, Workspace, read_record, write_record

MODEL = "model"


@stage("evaluate: shadow models", retries=0)
def train_shadows(run: RunContext) -> None:
    """Train every shadow that is missing."""
    ws = Workspace.of(run)
    job = _job(ws)
    for number in range(job.settings.models):
        _shadow(ws, job, number)


def shadow_models(ws: Workspace) -> tuple[ModelRef, ...]:
    """The shadows of a run; none where there is a retrained model."""
    if not has_shadows(ws.run):
        return ()
    folders = [ws.folder(_step(number), private=True) for number in range(shadow_settings(ws.run).models)]
    return tuple(ModelRef(path=str(at / MODEL), digest=read_record(at, "shadow", ModelRef).digest) for at in folders)


def reference_of(ws: Workspace) -> ModelRef | None:
    """The model that plays the reference: retrained, a shadow, or none."""
    return taken_in(ws).reference or next(iter(shadow_models(ws)), None)


def _job(ws: Workspace) -> ShadowJob:
    run, inputs = ws.run, taken_in(ws)
    if inputs.base is None:
        raise BadInput("shadow models: intake took no base model in; run the request again from the start")
    return ShadowJob(
        base=inputs.base,
        start=inputs.model,
        retain=set_rows(ws, "retain"),
        settings=shadow_settings(run),
        prompt_format=run.config.prompt_format,
        device=resolve_device(run.config.device),
        seed=run.config.seed,
    )


def _shadow(ws: Workspace, job: ShadowJob, number: int) -> None:
    progress = Progress(f"shadow model {number + 1} of {job.settings.models}")

    def build(part: Path) -> None:
        shutil.rmtree(part / MODEL, ignore_errors=True)
        with device_slot(ws.home):
            made = train_shadow(job, number, part / MODEL, progress=lambda line: progress(0, 1, line))
        write_record(part, "shadow", made)

    used = {"base": job.base.digest, "start": job.start.digest, "retain": ws.keyed(job.retain.digest)}
    how = {"settings": job.settings.plain(), "format": job.prompt_format.plain(), "seed": job.seed, "number": number}
    ws.step(_step(number), {**used, **how}, build, private=True)
    progress(1, 1)


def _step(number: int) -> str:
    return f"shadow-{number}"

"""The three sub-stages that make a candidate: the start model's word on the forget rows, the loop, the folder.

The first two write into the vault, because they have seen the forget set; the third writes the candidate where anybody
may read it. None of them opens a signing key. A training that diverges is a refusal, not a crash: its reason is
returned.
"""

import shutil
from pathlib import Path

from pipelines.errors import TrainingDiverged
from pipelines.methods import METHODS
from pipelines.methods.base import MethodParams
from pipelines.records import Candidate, ModelRef, Record
from pipelines.training.checkpoints import CurvePoint
from pipelines.training.gate_stop import marks_of
from pipelines.training.loop import Progress as StepProgress
from pipelines.unlearning.job import UnlearningJob
from pipelines.unlearning.stages import export as export_model
from pipelines.unlearning.stages import read_result
from pipelines.unlearning.stages import reference_statistics as ask_start_model
from pipelines.unlearning.stages import train as run_training
from tasks.artifacts import show_note
from tasks.device import device_slot
from tasks.filtering import narrowed
from tasks.intake import rows_of, taken_in
from tasks.progress import Progress
from tasks.scope import set_rows
from tasks.stage import stage
from tasks.step_metrics import StepMetrics
from tasks.workspace import RunContext, Workspace, read_record, write_record

MODEL = "model"


class Curve(Record):
    """How training went: one point per optimiser step, numbers only."""

    points: tuple[CurvePoint, ...]


@stage("unlearn: start model's log-probabilities", retries=0)
def reference_statistics(run: RunContext) -> None:
    """Ask the start model once about the forget rows, so that no second copy of it is held during training."""
    ws = Workspace.of(run)
    job = job_of(ws)
    with device_slot(ws.home):
        ws.step("reference", {"job": ws.keyed(job.identity)}, lambda part: ask_start_model(job, part), private=True)


@stage("unlearn: train", retries=0)
def train(run: RunContext) -> str | None:
    """Run the loop, from its own checkpoint where an earlier try left one; returns why it failed, or None."""
    ws = Workspace.of(run)
    job = job_of(ws)
    progress = Progress("unlearn")
    steps = StepMetrics(home=ws.home, request_id=run.request_id, job=ws.keyed(job.identity))

    def tell(at: StepProgress) -> None:
        progress(at.step, at.total, " ".join(f"{name} {value:.3g}" for name, value in at.metrics.items()))
        steps(at.step, {**at.metrics, "epoch": float(at.epoch)})

    def build(part: Path) -> None:
        result = run_training(job, part, reference=ws.folder("reference", private=True), progress=tell)
        progress(1, 1, f"{result.steps} steps, {result.epochs} epochs, stopped by {result.stop_reason}")

    try:
        with device_slot(ws.home):
            ws.step("train", {"job": ws.keyed(job.identity)}, build, private=True)
    except TrainingDiverged as error:
        reason = str(error)
        steps.send()
    else:
        steps.complete(read_result(ws.folder("train", private=True)).curve)
        return None
    ws.tell({"kind": "training_diverged", "job": ws.keyed(job.identity)})
    return f"training diverged: {reason}"


@stage("unlearn: export the candidate", retries=0)
def export(run: RunContext) -> Candidate:
    """Write the candidate's model folder, adapters merged."""
    ws = Workspace.of(run)
    job = job_of(ws)
    trained = ws.folder("train", private=True)
    final = ws.folder("unlearn") / MODEL

    def build(part: Path) -> None:
        shutil.rmtree(part / MODEL, ignore_errors=True)
        made = export_model(job, part / MODEL, trained=trained)
        moved = made.model_copy(update={"model": ModelRef(path=str(final), digest=made.model.digest)})
        write_record(part, "candidate", moved)
        write_record(part, "curve", Curve(points=read_result(trained).curve))

    ws.step("unlearn", {"trained": ws.outputs("train", private=True)}, build)
    candidate = read_record(final.parent, "candidate", Candidate)
    lines = [f"# {candidate.method}: {candidate.steps} steps, {candidate.epochs} epochs"]
    lines += [f"- stopped by: {candidate.stop_reason}", f"- candidate: `{candidate.model.digest}`"]
    show_note("unlearn", "\n".join([*lines, f"- made from: `{candidate.parent_digest}`"]))
    pairing = ws.keyed(read_result(trained).pairing)
    entry = {"candidate": candidate.model.digest, "parent": candidate.parent_digest, "pairing": pairing}
    ws.tell({"kind": "candidate", **entry})
    return candidate


def job_of(ws: Workspace) -> UnlearningJob:
    """Everything that decides the candidate, from the vault and the configuration; skipped rows are not pushed."""
    return narrowed(ws, whole_job(ws))


def whole_job(ws: Workspace) -> UnlearningJob:
    """The same with every forget row."""
    config = ws.run.config
    params = config.method_params()
    if not isinstance(params, MethodParams):
        raise TypeError(f"method {config.method}: {type(params).__name__} is no MethodParams")
    return UnlearningJob(
        model=taken_in(ws).model,
        forget=set_rows(ws, "forget"),
        retain=set_rows(ws, "retain"),
        holdout=rows_of(ws, "validation"),
        method=METHODS.require(config.method),
        params=params,
        training=config.training,
        lora=config.lora,
        prompt_format=config.prompt_format,
        device=config.device,
        seed=config.seed,
        marks=marks_of(ws.run.policy.gates),
    )

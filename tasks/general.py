"""Runs general tasks on start model and candidate, where the configuration or the policy names any, one task at a time.

What they said stays in the vault, row by row; what leaves are measurements, which the evaluation takes like any
metric's. A task that was run is not run again after a kill. Task files are those that intake saw, or nothing is run.
"""

from importlib.metadata import version
from pathlib import Path

from pipelines.errors import VerificationFailed
from pipelines.evaluation.general_readings import GeneralReading, lost, once
from pipelines.evaluation.general_tasks import GeneralTasks, general_tasks, run_task, tasks_digest
from pipelines.evaluation.statistics import Bootstrap
from pipelines.models.loading import LoadedModel, load_model, resolve_device
from pipelines.records import Evaluation, ModelRef, Record, Role
from tasks.device import device_slot
from tasks.intake import taken_in
from tasks.progress import Progress
from tasks.task_files import names_of
from tasks.workspace import Workspace, read_record, write_record

ROLES: tuple[Role, ...] = ("start", "candidate")
"""A reference never saw the forget rows and need not do anything else well."""


class Readings(Record):
    """What one task said of one model."""

    readings: tuple[GeneralReading, ...]


def run_general(ws: Workspace, role: Role, model: ModelRef) -> None:
    """Run the tasks on the model of a role; nothing to do where there are none."""
    config, names = ws.run.config, names_of(ws.run)
    if not names or role not in ROLES:
        return

    def build(part: Path) -> None:
        with device_slot(ws.home):
            loaded = load_model(model.path, device=resolve_device(config.device), expected_digest=model.digest)
            readings_on(ws, loaded, role, part)

    files = taken_in(ws).task_files
    inputs = {
        "model": model.digest,
        "tasks": list(names),
        "files": files.digest if files else None,
        "harness": version("lm_eval"),
        "confidence": config.evaluation.confidence,
        "format": config.prompt_format.plain(),
        "seed": config.seed,
    }
    ws.step(_step(role), inputs, build, private=True)


def readings_on(ws: Workspace, loaded: LoadedModel, role: Role, folder: Path) -> tuple[GeneralReading, ...]:
    """What the run's tasks say of a model; each is written into a folder, and read where it lies there already.

    Raises:
        BadInput: a task cannot be run.
        VerificationFailed: the task files are not those that intake saw.
    """
    config, names, progress = ws.run.config, names_of(ws.run), Progress(f"general tasks {role}")
    tasks = _found(ws, names) if names else None
    for place, name in enumerate(names):
        progress(place, len(names), name)
        if tasks is not None and not (folder / f"task-{place}.json").exists():
            chat = config.prompt_format.chat
            found = run_task(loaded, tasks, name, settings=config.evaluation, chat=chat, seed=config.seed)
            write_record(folder, f"task-{place}", Readings(readings=found))
    return _read(ws, folder)


def _found(ws: Workspace, names: tuple[str, ...]) -> GeneralTasks:
    files = taken_in(ws).task_files
    if files is not None and tasks_digest(Path(files.path)) != files.digest:
        raise VerificationFailed(f"general tasks: {files.path} is not what it was when the request came in")
    return general_tasks(names, folder=Path(files.path) if files else None)


def general_outputs(ws: Workspace, role: Role) -> list[str]:
    """Digests of what the tasks said that a role's evaluation takes: of its own model, and of the one before it."""
    return [ws.outputs(_step(one), private=True) for one in _read_by(ws, role)]


def with_general(ws: Workspace, evaluation: Evaluation) -> Evaluation:
    """An evaluation with what the tasks said of its model, and what that lost against the start model."""
    own = () if not _read_by(ws, evaluation.role) else _readings(ws, evaluation.role)
    return general_added(ws, evaluation, own)


def general_added(ws: Workspace, evaluation: Evaluation, own: tuple[GeneralReading, ...]) -> Evaluation:
    """An evaluation with readings of its model, and for a candidate what it lost against the start model."""
    settings = ws.run.config.evaluation
    bootstrap = Bootstrap(samples=settings.bootstrap, confidence=settings.confidence, seed=ws.run.config.seed)
    before = _readings(ws, "start") if own and evaluation.role == "candidate" else ()
    found = (*(one.measurement for one in own), *lost(own, before, bootstrap=bootstrap))
    return evaluation.model_copy(update={"measurements": (*evaluation.measurements, *found)})


def _read_by(ws: Workspace, role: Role) -> tuple[Role, ...]:
    if role not in ROLES or not names_of(ws.run):
        return ()
    return tuple(dict.fromkeys((role, "start")))


def _readings(ws: Workspace, role: Role) -> tuple[GeneralReading, ...]:
    return _read(ws, ws.folder(_step(role), private=True))


def _read(ws: Workspace, folder: Path) -> tuple[GeneralReading, ...]:
    said = [read_record(folder, f"task-{place}", Readings) for place, _ in enumerate(names_of(ws.run))]
    return once(reading for one in said for reading in one.readings)


def _step(role: Role) -> str:
    return f"general-{role}"

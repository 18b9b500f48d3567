"""Which general tasks a run has, and whether they can be run: known before anything starts."""

from pathlib import Path

from pipelines.audit.label import label_for
from pipelines.errors import BadInput
from pipelines.evaluation.general_readings import wanted_tasks
from pipelines.evaluation.general_tasks import general_tasks, tasks_digest
from pipelines.records import ModelRef
from tasks.workspace import RunContext


def names_of(run: RunContext) -> tuple[str, ...]:
    """The tasks of a run: those of its configuration, and those that its policy reads."""
    return wanted_tasks(run.config.evaluation.general_tasks, run.policy)


def task_files(run: RunContext) -> ModelRef | None:
    """The folder of task files as intake sees it, once every task is known to be there; None where there is none.

    Raises:
        BadInput: the harness is not installed, a task or the folder is not there, or the method leaves a model that the
            harness cannot ask.
    """
    names, folder = names_of(run), run.config.evaluation.general_task_folder
    if not names:
        return None
    if label_for(run.config.method) is not None:
        raise BadInput(f"general tasks: method {run.config.method} answers behind a context; name none, or another one")
    found = general_tasks(names, folder=Path(folder) if folder else None)
    return ModelRef(path=str(found.folder), digest=tasks_digest(found.folder)) if found.folder else None

"""Training of a trial that may be interrupted on purpose: after some epochs for an early look, or when its time is up.

What was trained stays in the folder as checkpoints; the same call goes on from there, to the same weights as a run that
nobody interrupted.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.models.loading import LoadedModel
from pipelines.training.checkpoints import WEIGHTS, Checkpoints, load_state
from pipelines.training.loop import Progress
from pipelines.unlearning.job import UnlearningJob
from pipelines.unlearning.stages import TrainingResult, train, with_weights


class Paused(Exception):
    """Training got as far as it was allowed for now; its last checkpoint is complete."""


class OutOfTime(Exception):
    """The time of the trial is up."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How far a trial may go this time.

    Attributes:
        epochs: passes after which it is looked at; None for no look.
        seconds: of training; None for no limit.
    """

    epochs: int | None = None
    seconds: float | None = None


def train_within(
    job: UnlearningJob,
    folder: Path,
    *,
    reference: Path,
    allowance: Allowance,
    clock: Callable[[], float],
    tell: Callable[[Progress], None],
) -> TrainingResult:
    """Train as far as allowed.

    Args:
        job: the trial's.
        folder: of the checkpoints, and of the result at the end.
        reference: folder with the start model's statistics.
        allowance: how far.
        clock: seconds from some moment on.
        tell: told of every optimiser step.

    Raises:
        Paused: the epochs are done and training is not over.
        OutOfTime: the seconds are.
        TrainingDiverged: as in training.
    """
    began = clock()

    def watch(at: Progress) -> None:
        tell(at)
        if allowance.seconds is not None and clock() - began > allowance.seconds:
            raise OutOfTime
        # The checkpoint of an epoch is complete when the first step of the next one is told.
        if allowance.epochs is not None and at.epoch > allowance.epochs and Checkpoints(folder).latest() is not None:
            raise Paused

    return train(job, folder, reference=reference, progress=watch)


def trained_so_far(job: UnlearningJob, folder: Path) -> LoadedModel:
    """The start model with the weights of the newest checkpoint in it, in memory only; its digest is the start's.

    Raises:
        ValueError: there is no checkpoint.
    """
    latest = Checkpoints(folder).latest()
    if latest is None:
        raise ValueError(f"{folder}: no checkpoint to look at")
    loaded = with_weights(job, latest / WEIGHTS)
    loaded.model.eval()
    return loaded


def epochs_so_far(folder: Path) -> int:
    """Epochs behind the newest checkpoint; 0 without one."""
    latest = Checkpoints(folder).latest()
    return load_state(latest).epochs if latest is not None else 0


def clear(folder: Path, *, keep: frozenset[str]) -> None:
    """Remove everything from a trial's folder but what is named: its weights are of no more use."""
    for path in folder.iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

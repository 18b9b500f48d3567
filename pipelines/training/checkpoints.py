"""Checkpoints of a training run: complete or not there, two at most, and enough to go on bit for bit.

A checkpoint holds the trained weights (all of them, or the adapters alone) as safetensors, the optimiser, schedule and
random states as transformers writes them, and the loop's own state as JSON. It is written under ``.part``, synced and
renamed. It belongs into the vault: it has seen the forget set.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import nn

from pipelines.audit.canonical import canonical, parse_strict
from pipelines.audit.encoding import sync_folder
from pipelines.errors import TrainingDiverged
from pipelines.models.loading import full_disk_refused
from pipelines.records import Record

WEIGHTS = "trained.safetensors"
STATE = "loop.json"
KEPT = 2
_PREFIX = "checkpoint-"


class CurvePoint(Record):
    """One optimiser step: means over its batches, in nats; no text, no row."""

    step: int
    epoch: int
    loss: float
    forget_nll: float
    retain_nll: float
    active: int = Field(description="Forget rows of the step that were still being pushed.")
    grad_norm: float | None = Field(default=None, description="Of all gradients together, before they were clipped.")
    learning_rate: float | None = Field(default=None, description="Of the step.")


class LoopState(Record):
    """What the loop remembers besides weights, optimiser and random states.

    Attributes:
        epochs: finished ones.
        levels: score at which each forget row counts as forgotten; empty where rows never do.
        carried: numbers that the method carries from epoch to epoch.
        held: epochs in a row at whose end all forget rows were at their level.
        stop_reason: why training is over, or None while it is not.
        curve: every step so far.
    """

    epochs: int = 0
    levels: tuple[float, ...] = ()
    carried: tuple[float, ...] = ()
    held: int = 0
    stop_reason: str | None = None
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints under one folder."""

    root: Path

    def latest(self) -> Path | None:
        """The newest complete checkpoint."""
        return max(self._complete(), key=_step, default=None)

    def part(self, step: int) -> Path:
        """The folder of a checkpoint while it is written."""
        return self.root / f"{_PREFIX}{step}.part"

    @contextmanager
    def write(self, step: int) -> Iterator[Path]:
        """A folder to fill; a checkpoint once the block has ended without an error. Two are kept.

        Raises:
            BadInput: no space left on the device; the older checkpoints stay.
        """
        part = self.part(step)
        shutil.rmtree(part, ignore_errors=True)
        with full_disk_refused(part):
            part.mkdir(parents=True)
            yield part
            _sync_files(part)
            part.rename(self.root / f"{_PREFIX}{step}")
        sync_folder(self.root)
        for old in sorted(self._complete(), key=_step)[:-KEPT]:
            shutil.rmtree(old)

    def _complete(self) -> list[Path]:
        return [path for path in self.root.glob(f"{_PREFIX}*") if path.is_dir() and path.suffix != ".part"]

    def clear(self) -> None:
        """Remove all of them."""
        for path in self.root.glob(f"{_PREFIX}*"):
            shutil.rmtree(path)


def _step(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX))


def _sync_files(folder: Path) -> None:
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def save_state(folder: Path, state: LoopState) -> None:
    """Write the loop's state."""
    (folder / STATE).write_bytes(canonical(state.plain()))


def load_state(folder: Path) -> LoopState:
    """Read the loop's state."""
    return LoopState.model_validate(parse_strict((folder / STATE).read_bytes()))


def save_trained(model: nn.Module, path: Path) -> None:
    """Write the weights that are being trained, exactly; tied ones once.

    Raises:
        TrainingDiverged: one of them is not finite; nothing is written.
    """
    write_trained({name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}, path)


def write_trained(trained: dict[str, torch.Tensor], path: Path) -> None:
    """:func:`save_trained` for weights that were gathered already. Raises TrainingDiverged as that does."""
    broken = next((name for name, p in trained.items() if not bool(torch.isfinite(p).all())), None)
    if broken is not None:
        raise TrainingDiverged(f"weights of {broken} are not finite after this epoch; lower the learning rate")
    save_file(trained, path)


def load_trained(model: nn.Module, path: Path) -> None:
    """Put the weights back into the model they came from, in the model's own element type.

    Raises:
        ValueError: the file holds weights of another model.
    """
    trained = load_file(path, device="cpu")
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if trained.keys() != parameters.keys():
        raise ValueError(f"{path}: {len(trained)} tensors, {len(parameters)} expected, or their names differ")
    with torch.no_grad():
        for name, tensor in trained.items():
            parameters[name].copy_(tensor)

"""What goes around a method's loss without being one: penalties on weights, rules for gradients, changing factors.

A part looks at the start model once and says what it wants to remember (masks, subspaces, samples); the loop keeps that
beside the other reference statistics, so a run that goes on after a kill finds it. For each run it then turns what it
remembered into :class:`Hooks` on the model that trains. A part has no state of its own between steps: everything
follows from the job, what was remembered and the step's number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from pipelines.data.encode import Encoded


@dataclass(frozen=True, slots=True)
class At:
    """Where the loop is: optimiser steps done before this one, epoch from 0, and the most epochs there can be."""

    step: int
    epoch: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Factors of one step on top of the method's own weights: of the forget term, the retain term, the penalties."""

    forget: float = 1.0
    retain: float = 1.0
    penalty: float = 1.0

    def times(self, other: "Coefficients") -> "Coefficients":
        """Both at once."""
        return Coefficients(self.forget * other.forget, self.retain * other.retain, self.penalty * other.penalty)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a part does in the loop; every field may stay away.

    Attributes:
        penalty: differentiable scalar from the trained weights, added to the loss of every batch.
        on_gradient: changes the gradients in place once they are complete, before they are clipped.
        after_step: changes the weights in place after the optimiser has (weight decay reaches masked weights, too).
        coefficients: factors of a step.
    """

    penalty: Callable[[], torch.Tensor] | None = None
    on_gradient: Callable[[], None] | None = None
    after_step: Callable[[], None] | None = None
    coefficients: Callable[[At], Coefficients] | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Start:
    """What a part may look at when it prepares: the start model and the rows of the run, as tokens.

    Attributes:
        model: in evaluation mode, without adapters, on ``device``; left unchanged.
        forget: the rows that will be pushed.
        retain: the retain rows that will be drawn; without a retain term, those that one would draw.
        pad_id: token that fills short rows.
        batch_size: rows per batch that fit.
        device: where the model is.
        seed: of the run.
    """

    model: nn.Module
    forget: Sequence[Encoded]
    retain: Sequence[Encoded]
    pad_id: int
    batch_size: int
    device: torch.device
    seed: int


class Part(Protocol):
    """Something that composes with any method."""

    @property
    def name(self) -> str:
        """Unique among the parts of a run."""
        ...

    def prepare(self, start: Start) -> dict[str, torch.Tensor]:
        """What to remember of the start model; may be empty. Called once per run, not again after a kill."""
        ...

    def hooks(self, model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        """What to do in the loop.

        Args:
            model: as it will be trained: at its start weights, adapters on; which weights train is decided.
            prepared: what ``prepare`` returned.
        """
        ...

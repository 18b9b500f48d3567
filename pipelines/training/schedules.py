"""How the factors of a step change while a run goes on: parts that know the step's number and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pipelines.training.parts import At, Coefficients, Hooks, Start


@dataclass(frozen=True, slots=True)
class Gradual:
    """The forget term grows epoch by epoch, from 1 / E in the first of at most E epochs to 1 in the last.

    With a stop rule, training ends at the least strength that is enough.
    """

    name: str = "gradual"

    def prepare(self, start: Start) -> dict[str, torch.Tensor]:
        """Nothing."""
        return {}

    def hooks(self, model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        """The factors."""
        return Hooks(coefficients=lambda at: Coefficients(forget=(at.epoch + 1) / at.epochs))


@dataclass(frozen=True, slots=True)
class Alternating:
    """One step forgets, the next keeps: the forget term alone, then the retain term and the penalties alone.

    Each step still takes its batch's rows through the model together; half of what it reads has no weight.
    """

    name: str = "alternating"

    def prepare(self, start: Start) -> dict[str, torch.Tensor]:
        """Nothing."""
        return {}

    def hooks(self, model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        """The factors."""
        return Hooks(coefficients=turn)


def turn(at: At) -> Coefficients:
    """Forget in even steps, keep in odd ones, counted from 0."""
    keeps = float(at.step % 2)
    return Coefficients(forget=1.0 - keeps, retain=keeps, penalty=keeps)

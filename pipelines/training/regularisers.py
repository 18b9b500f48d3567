"""Penalties that hold weights near the start model: squared distance, and sliced Wasserstein distance of their rows.

Each is a part (:mod:`pipelines.training.parts`) that goes with any method, with all weights or with adapters: under
LoRA it reads the weights as they would be after the merge. No second model is held on the accelerator: the squared
distance keeps the start weights in main memory and fetches one matrix at a time (adapters need none), the sliced
distance keeps sorted projections only. Nearness of weights says nothing of what a model answers; that is measured.

Shapes: R rows of a matrix, C its columns, P projections.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pipelines.training.parts import Hooks, Start

PROJECTIONS = 100


@dataclass(frozen=True, slots=True)
class Watched:
    """A weight of the merged model that training changes.

    Attributes:
        value: as it is now, differentiable.
        change: what adapters add to it, differentiable; None where the weight itself trains.
    """

    value: Callable[[], torch.Tensor]
    change: Callable[[], torch.Tensor] | None = None


def watched(model: nn.Module) -> dict[str, Watched]:
    """Everything that trains, by the name of its parameter, or of the module that its adapter sits on."""
    adapted: dict[str, Watched] = {}
    adapters: set[int] = set()
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight") and any(p.requires_grad for p in module.parameters()):
            adapted[name] = _adapted(module)
            adapters |= {id(p) for p in module.parameters()}
    trained = {
        name: Watched(value=lambda weight=parameter: weight)  # type: ignore[misc]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and id(parameter) not in adapters
    }
    return {**adapted, **trained}


def _adapted(module: Any) -> Watched:
    def change() -> torch.Tensor:
        added: torch.Tensor = sum(module.get_delta_weight(adapter) for adapter in module.active_adapters)
        return added

    return Watched(value=lambda: module.get_base_layer().weight.detach() + change(), change=change)


class _SquaredDistance(torch.autograd.Function):
    """||w - w_0||^2 that saves neither the difference nor w_0 on the accelerator for the way back."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(weight)
        ctx.start = start
        return (weight - start.to(weight.device)).square().sum()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (weight,) = ctx.saved_tensors
        return 2 * grads[0] * (weight - ctx.start.to(weight.device)), None


@dataclass(frozen=True, slots=True)
class SquaredDistance:
    """weight x sum of (w - w_0)^2 over everything that trains; w_0 are the start weights."""

    weight: float
    name: str = "l2"

    def prepare(self, start: Start) -> dict[str, torch.Tensor]:
        """Nothing: the hooks find the model at its start weights."""
        return {}

    def hooks(self, model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        """The penalty."""
        terms = [_distance(found) for found in watched(model).values()]
        return Hooks(penalty=lambda: self.weight * torch.stack([term() for term in terms]).sum())


def _distance(found: Watched) -> Callable[[], torch.Tensor]:
    change = found.change
    if change is not None:
        return lambda: change().square().sum()
    start = found.value().detach().to("cpu", copy=True)

    def distance() -> torch.Tensor:
        apart: torch.Tensor = _SquaredDistance.apply(found.value(), start)  # type: ignore[no-untyped-call]
        return apart

    return distance


@dataclass(frozen=True, slots=True)
class SlicedWasserstein:
    """weight x sum of the squared sliced Wasserstein distances of everything that trains from the start weights.

    The rows of a matrix are taken as samples; a vector is one sample. A permutation of rows costs nothing.
    """

    weight: float
    projections: int = PROJECTIONS
    name: str = "wasserstein"

    def prepare(self, start: Start) -> dict[str, torch.Tensor]:
        """Nothing: the hooks find the model at its start weights."""
        return {}

    def hooks(self, model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        """The penalty."""
        draw = torch.Generator().manual_seed(0)
        directions: dict[int, torch.Tensor] = {}
        terms = []
        for found in watched(model).values():
            rows_RC = _rows(found.value()).detach()
            width = rows_RC.shape[1]
            if width not in directions:
                directions[width] = directions_of(width, n=self.projections, draw=draw).to(rows_RC.device)
            terms.append(_sliced(found, directions[width], sorted_projections(rows_RC, directions[width])))
        return Hooks(penalty=lambda: self.weight * torch.stack([term() for term in terms]).sum())


def _sliced(found: Watched, directions_CP: torch.Tensor, start_RP: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: (sorted_projections(_rows(found.value()), directions_CP) - start_RP).square().mean()


def _rows(weight: torch.Tensor) -> torch.Tensor:
    return weight.reshape(1, -1) if weight.dim() < 2 else weight.flatten(1)


def directions_of(width: int, *, n: int, draw: torch.Generator) -> torch.Tensor:
    """Random unit vectors, uniform on the sphere: directions_CP."""
    return nn.functional.normalize(torch.randn(width, n, generator=draw), dim=0)


def sorted_projections(rows_RC: torch.Tensor, directions_CP: torch.Tensor) -> torch.Tensor:
    """The rows' coordinates along each direction in rising order: sorted_RP.

    Between two samples of the same size, the mean squared difference of these is the squared sliced 2-Wasserstein
    distance (Bonneel et al. 2015, doi 10.1007/s10851-014-0506-3; Opt-Out, arXiv 2406.12329).
    """
    with torch.autocast(rows_RC.device.type, enabled=False):
        return (rows_RC.float() @ directions_CP).sort(dim=0).values

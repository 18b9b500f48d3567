"""Penalties on weights against slow oracles, under all weights and under adapters; and what they do in the loop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import wasserstein_distance
from torch import nn

from pipelines.config import LoraSettings, TrainingSettings
from pipelines.methods.base import Method
from pipelines.models.adapters import add_adapters, merge_adapters
from pipelines.records import ModelRef
from pipelines.training.parts import Hooks
from pipelines.training.regularisers import (
    SlicedWasserstein,
    SquaredDistance,
    directions_of,
    sorted_projections,
    watched,
)
from pipelines.unlearning.stages import unlearn
from tests.jobs import save_taught, tiny_job
from tests.tiny import tiny_model

LORA = LoraSettings(r=2, target_modules=("q_proj", "down_proj"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


def _penalty(hooks: Hooks) -> Callable[[], torch.Tensor]:
    assert hooks.penalty is not None
    return hooks.penalty


def _moved(model: nn.Module, *, seed: int = 1) -> None:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))


def _sliced(old: np.ndarray, new: np.ndarray, directions: np.ndarray) -> float:
    """Direction by direction; two clouds of two points each along a line: the cheaper of all matchings."""
    values = []
    for direction in directions.T:
        a, b = old @ direction, new @ direction
        values.append(min(np.mean((a - b[list(order)]) ** 2) for order in ((0, 1), (1, 0))))
    return float(np.mean(values))


def test_sorting_is_the_cheapest_matching() -> None:
    """Of two samples, against both matchings; also |difference of sorted values| against scipy's 1-distance."""
    draw = torch.Generator().manual_seed(5)
    old, new = torch.randn(2, 3, generator=draw), torch.randn(2, 3, generator=draw)
    directions = directions_of(3, n=50, draw=draw)
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(50))
    apart = sorted_projections(old, directions) - sorted_projections(new, directions)
    assert float(apart.square().mean()) == pytest.approx(
        _sliced(old.numpy(), new.numpy(), directions.numpy()), rel=1e-5
    )
    longer = torch.randn(2, 40, 3, generator=draw)
    sides = [sorted_projections(rows, directions[:, :1]) for rows in longer]
    expected = wasserstein_distance(*((rows @ directions[:, 0]).numpy() for rows in longer))
    assert float((sides[0] - sides[1]).abs().mean()) == pytest.approx(expected, rel=1e-5)


def test_a_shift_by_delta_costs_its_share_of_every_direction() -> None:
    """All rows moved by d: every projection moves by d . theta; its mean square over the sphere is |d|^2 / C."""
    layer = nn.Linear(4, 30, bias=False)
    penalty = _penalty(SlicedWasserstein(weight=2.0, projections=20_000).hooks(layer, {}))
    assert float(penalty().detach()) == 0.0
    with torch.no_grad():
        layer.weight += torch.tensor([0.3, 0.0, -0.4, 0.0])
    assert float(penalty().detach()) == pytest.approx(2.0 * 0.25 / 4, rel=0.05)


def test_permuted_rows_cost_nothing_of_the_transport_and_something_of_the_square() -> None:
    layer = nn.Linear(4, 6, bias=False)
    transport = _penalty(SlicedWasserstein(1.0).hooks(layer, {}))
    square = _penalty(SquaredDistance(1.0).hooks(layer, {}))
    before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.copy_(before.flip(0))
    assert float(transport().detach()) == pytest.approx(0.0, abs=1e-10)
    assert float(square().detach()) == pytest.approx(float((before - before.flip(0)).square().sum()), rel=1e-6)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_the_square_is_the_distance_of_the_merged_weights(lora: LoraSettings | None) -> None:
    start = {name: p.detach().double().clone() for name, p in tiny_model().named_parameters()}
    model: nn.Module = tiny_model() if lora is None else add_adapters(tiny_model(), lora, seed=0)
    penalty = _penalty(SquaredDistance(3.0).hooks(model, {}))
    assert float(penalty().detach()) == 0.0
    _moved(model)
    found = float(penalty().detach())
    merged = model if lora is None else merge_adapters(model)
    apart = sum(float((p.detach().double() - start[name]).square().sum()) for name, p in merged.named_parameters())
    assert found == pytest.approx(3.0 * apart, rel=1e-4)


@pytest.mark.parametrize("part", [SquaredDistance(0.5), SlicedWasserstein(0.5, projections=7)], ids=["l2", "sliced"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_slopes_are_those_of_finite_differences(
    part: SquaredDistance | SlicedWasserstein, lora: LoraSettings | None
) -> None:
    model: nn.Module = tiny_model() if lora is None else add_adapters(tiny_model(), lora, seed=0)
    penalty = _penalty(part.hooks(model, {}))
    _moved(model)
    name, parameter = next((n, p) for n, p in model.named_parameters() if p.requires_grad and p.dim() == 2)
    penalty().backward()
    assert parameter.grad is not None, name
    slope, step = float(parameter.grad[1, 2]), 1e-2
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter[1, 2] += sign * step
        values.append(float(penalty().detach()))
        with torch.no_grad():
            parameter[1, 2] -= sign * step
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=0.05, abs=2e-3)


def test_what_is_watched_is_what_trains() -> None:
    model = tiny_model()
    model.model.embed_tokens.weight.requires_grad_(False)
    assert set(watched(model)) == {n for n, _ in model.named_parameters()} - {"model.embed_tokens.weight"}
    assert len(watched(add_adapters(tiny_model(), LORA, seed=0))) == 4


@pytest.mark.slow
@pytest.mark.parametrize("part", [SquaredDistance(300.0), SlicedWasserstein(3000.0)], ids=["l2", "sliced"])
def test_in_the_loop_weights_stay_nearer(
    model: ModelRef, tmp_path: Path, part: SquaredDistance | SlicedWasserstein
) -> None:
    start, apart = load_file(Path(model.path) / "model.safetensors"), {}
    for name in ("free", "held"):
        job = tiny_job(model, method="grad_diff", training=TrainingSettings(epochs=3, batch_size=6, learning_rate=2e-3))
        assert isinstance(job.method, Method)
        method = job.method if name == "free" else replace(job.method, parts=lambda params: (part,))
        made = load_file(Path(unlearn(replace(job, method=method), tmp_path / name).model.path) / "model.safetensors")
        apart[name] = sum(float((made[key] - start[key]).square().sum()) for key in start)
    assert apart["held"] < 0.7 * apart["free"]

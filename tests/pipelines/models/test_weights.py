"""Arithmetic on weights against the same written out, and fused adapters against direct least squares."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from pipelines.models.adapters import add_adapters, merge_adapters
from pipelines.models.weights import Share, fused, rewrite, subtracted
from pipelines.settings import LoraSettings
from pipelines.training.checkpoints import load_trained, save_trained
from tests.tiny import tiny_model

SCALES = st.floats(0, 3)


def _tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "b": torch.randn(3, 5, generator=generator),
        "a": torch.randn(7, generator=generator).to(torch.bfloat16),
        "c": torch.randn((), generator=generator),
    }


def test_a_file_rewritten_without_change_is_the_same_file(tmp_path: Path) -> None:
    save_file(_tensors(), tmp_path / "in.safetensors", metadata={"format": "pt"})
    rewrite(tmp_path / "in.safetensors", tmp_path / "out.safetensors", lambda name, tensor: tensor)
    assert (tmp_path / "out.safetensors").read_bytes() == (tmp_path / "in.safetensors").read_bytes()


def test_every_tensor_is_changed_under_its_own_name(tmp_path: Path) -> None:
    save_file(_tensors(), tmp_path / "in.safetensors")
    factors = {"a": 2.0, "b": -1.0, "c": 0.5}
    rewrite(tmp_path / "in.safetensors", tmp_path / "out.safetensors", lambda name, tensor: tensor * factors[name])
    found = load_file(tmp_path / "out.safetensors")
    assert found.keys() == factors.keys()
    for name, tensor in _tensors().items():
        assert torch.equal(found[name], tensor * factors[name])


def test_another_shape_is_refused_and_nothing_is_left_under_the_name(tmp_path: Path) -> None:
    save_file(_tensors(), tmp_path / "in.safetensors")
    with pytest.raises(ValueError, match="instead of"):
        rewrite(tmp_path / "in.safetensors", tmp_path / "out.safetensors", lambda name, tensor: tensor.float())
    assert not (tmp_path / "out.safetensors").exists()


@given(scale=SCALES)
def test_subtraction_mirrors_the_training_at_the_start(tmp_path_factory: pytest.TempPathFactory, scale: float) -> None:
    """(1 + s) theta - s theta_trained, in double precision, weight by weight."""
    folder = tmp_path_factory.mktemp("subtracted")
    start, trained = tiny_model(0), tiny_model(1)
    save_trained(trained, folder / "trained")
    subtracted(start, folder / "trained", folder / "out", scale=scale)
    found, before = load_file(folder / "out"), dict(start.named_parameters())
    for name, after in trained.named_parameters():
        expected = (1 + scale) * before[name].double() - scale * after.double()
        torch.testing.assert_close(found[name].double(), expected.detach(), atol=1e-6, rtol=1e-5)


def test_an_adapter_is_turned_as_its_merged_weights_are(tmp_path: Path) -> None:
    """Merged, the subtracted adapter is (1 + s) theta - s theta_merged: the first factor stays, the second turns."""
    settings = LoraSettings(r=4, alpha=8)
    model = add_adapters(tiny_model(), settings, seed=0)
    subject = add_adapters(tiny_model(), settings, seed=0)
    with torch.no_grad():
        for name, parameter in subject.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))) / 10)
    save_trained(subject, tmp_path / "trained")
    subtracted(model, tmp_path / "trained", tmp_path / "out", scale=0.5)
    load_trained(model, tmp_path / "out")
    turned, merged = dict(merge_adapters(model).named_parameters()), dict(merge_adapters(subject).named_parameters())
    for name, before in tiny_model().named_parameters():
        torch.testing.assert_close(turned[name], 1.5 * before - 0.5 * merged[name], atol=1e-5, rtol=1e-4)


def _share(samples: int, *, seed: int, inputs: int = 6, outputs: int = 4) -> tuple[Share, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs_SI = torch.randn(samples, inputs, generator=generator, dtype=torch.float64)
    change_OI = torch.randn(outputs, inputs, generator=generator, dtype=torch.float64)
    return Share(change_OI=change_OI, gram_II=inputs_SI.T @ inputs_SI), inputs_SI


def test_fusion_is_the_least_squares_answer() -> None:
    """The least of sum_i |X_i W' - X_i W_i'|^2, by the rows of all requests in one system."""
    both = [_share(9, seed=1), _share(7, seed=2)]
    stacked_SI = torch.cat([inputs for _, inputs in both])
    targets_SO = torch.cat([inputs @ share.change_OI.T for share, inputs in both])
    expected_OI = torch.linalg.lstsq(stacked_SI, targets_SO).solution.T
    torch.testing.assert_close(fused([share for share, _ in both], ridge=1e-12), expected_OI, atol=1e-8, rtol=1e-8)


def test_fusion_with_few_rows_is_the_ridge_answer() -> None:
    """With 2 + 2 rows of 6 inputs the system is singular; the ridge's part, sum_i e |W - W_i|^2, are rows too."""
    both, ridge = [_share(2, seed=3), _share(2, seed=4)], 0.01
    weight = ridge * torch.stack([share.gram_II.diagonal().mean() for share, _ in both]).mean()
    eye_II = weight.sqrt() * torch.eye(6, dtype=torch.float64)
    stacked_SI = torch.cat([torch.cat([inputs, eye_II]) for _, inputs in both])
    targets_SO = torch.cat([torch.cat([inputs, eye_II]) @ share.change_OI.T for share, inputs in both])
    expected_OI = torch.linalg.lstsq(stacked_SI, targets_SO).solution.T
    torch.testing.assert_close(fused([share for share, _ in both], ridge=ridge), expected_OI, atol=1e-8, rtol=1e-8)


def test_each_request_keeps_its_change_where_their_inputs_do_not_meet() -> None:
    """Two rows each of six inputs: every row gets what its own adapter gave it, in spite of the other's."""
    both = [_share(2, seed=5), _share(2, seed=6)]
    change_OI = fused([share for share, _ in both], ridge=1e-9)
    for share, inputs_SI in both:
        torch.testing.assert_close(inputs_SI @ change_OI.T, inputs_SI @ share.change_OI.T, atol=1e-5, rtol=1e-5)


def test_one_request_alone_is_its_own_fusion() -> None:
    share, _ = _share(3, seed=7)
    torch.testing.assert_close(fused([share]), share.change_OI)


def test_subtracting_leaves_the_start_model_alone(tmp_path: Path) -> None:
    start = tiny_model(0)
    save_trained(tiny_model(1), tmp_path / "trained")
    subtracted(start, tmp_path / "trained", tmp_path / "out", scale=1.0)
    fresh: nn.Module = tiny_model(0)
    assert all(torch.equal(a, b) for a, b in zip(start.parameters(), fresh.parameters(), strict=True))

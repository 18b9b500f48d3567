"""Steps say their gradient norm and learning rate; bfloat16 training stays finite, close, and with float32 weights."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines.config import TrainingSettings
from pipelines.records import ModelRef
from pipelines.training.checkpoints import CurvePoint
from pipelines.unlearning.stages import read_result, reference_statistics, train
from tests.jobs import save_taught, tiny_job


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught"))


def _trained(model: ModelRef, folder: Path, **settings: object) -> tuple[CurvePoint, ...]:
    job = tiny_job(model, training=TrainingSettings.model_validate({"epochs": 2, "batch_size": 2, **settings}))
    reference_statistics(job, folder)
    train(job, folder, reference=folder)
    return read_result(folder).curve


def test_a_step_says_its_own_rate_and_its_gradient_before_clipping(model: ModelRef, tmp_path: Path) -> None:
    """Linear from 6e-3 over six steps, no warm-up: step k is taken at 6e-3 (1 - (k - 1) / 6)."""
    curve = _trained(model, tmp_path, learning_rate=6e-3, schedule="linear", max_grad_norm=1e-3)
    assert [point.learning_rate for point in curve] == pytest.approx([6e-3, 5e-3, 4e-3, 3e-3, 2e-3, 1e-3])
    assert all(point.grad_norm is not None and point.grad_norm > 1e-3 for point in curve)


def test_bfloat16_is_close_and_keeps_float32_weights(model: ModelRef, tmp_path: Path) -> None:
    """Eight bits of mantissa leave about 1 % of a loss; a step's numbers differ, or nothing was changed."""
    exact = _trained(model, tmp_path / "float32", learning_rate=1e-4)
    short = _trained(model, tmp_path / "bfloat16", learning_rate=1e-4, precision="bfloat16")
    assert all(math.isfinite(point.loss) for point in short)
    assert [point.loss for point in short] == pytest.approx([point.loss for point in exact], rel=0.05, abs=0.05)
    assert [point.loss for point in short] != [point.loss for point in exact]
    weights = load_file(tmp_path / "bfloat16" / "trained.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}

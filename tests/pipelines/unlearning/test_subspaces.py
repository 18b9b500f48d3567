"""The retained space against slow oracles; and that training leaves a layer's answers in it exactly alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from pipelines.config import LoraSettings, TrainingSettings
from pipelines.data.encode import Encoded
from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.records import ModelRef
from pipelines.training.parts import Start
from pipelines.unlearning.reference import REFERENCE, prepared, reference_statistics
from pipelines.unlearning.stages import unlearn
from pipelines.unlearning.subspaces import RetainedSpace, grams, linear_layers, retained_basis
from tests.jobs import save_taught, tiny_job
from tests.tiny import tiny_model

FORGET = [Encoded((1, 9, 8, 7, 2), 2, 4), Encoded((1, 30, 31, 2), 2, 3)]
RETAIN = [Encoded((1, 50, 51, 52, 53, 54, 2), 3, 6), Encoded((1, 60, 61, 2), 2, 3), Encoded((1, 70, 71, 72, 2), 2, 4)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


def _start(model: nn.Module, *, batch_size: int = 2) -> Start:
    return Start(
        model=model, forget=FORGET, retain=RETAIN, pad_id=0, batch_size=batch_size, device=torch.device("cpu"), seed=0
    )


def test_the_retained_gram_is_the_full_one_less_the_forgotten_one() -> None:
    """Also against one row at a time, without padding, token by token, of the first layer's attention inputs."""
    model = tiny_model()
    full, forgotten = (grams(_start(model), items) for items in ([*FORGET, *RETAIN], FORGET))
    retained = grams(_start(model, batch_size=3), RETAIN)
    assert set(retained) == set(linear_layers(model))
    assert len(retained) == 14
    for name, gram_CC in retained.items():
        torch.testing.assert_close(gram_CC, full[name] - forgotten[name], atol=1e-4, rtol=1e-4)
    first, slow = model.model.layers[0], torch.zeros(32, 32, dtype=torch.float64)
    for item in RETAIN:
        for token in item.input_ids:
            x = first.input_layernorm(model.model.embed_tokens.weight[token]).detach().double()
            slow += torch.outer(x, x)
    found = retained["model.layers.0.self_attn.q_proj"].double()
    torch.testing.assert_close(found, slow, atol=1e-5, rtol=1e-5)


def test_the_basis_is_the_smallest_that_holds_the_share() -> None:
    """Variances 8, 1, 1 along an orthogonal turn: 0.8 takes one direction, 0.85 two, 0.95 all three."""
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double())
    gram = turn @ torch.diag(torch.tensor([1.0, 8.0, 1.0], dtype=torch.float64)) @ turn.T
    bases = {keep: retained_basis(gram, keep=keep) for keep in (0.8, 0.85, 0.95)}
    assert [basis.shape[1] for basis in bases.values()] == [1, 2, 3]
    assert abs(float(bases[0.8][:, 0].double() @ turn[:, 1])) == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(bases[0.95].T @ bases[0.95], torch.eye(3), atol=1e-6, rtol=0)


def test_gradients_lose_what_lies_in_the_space_and_the_rest_does_not_train() -> None:
    model = tiny_model()
    part = RetainedSpace(0.9)
    bases = part.prepare(_start(model))
    hooks = part.hooks(model, bases)
    model(input_ids=torch.tensor([[1, 9, 8]]), labels=torch.tensor([[1, 9, 8]])).loss.backward()
    before = {name: layer.weight.grad.clone() for name, layer in linear_layers(model).items()}  # type: ignore[union-attr, operator]
    assert hooks.on_gradient is not None
    hooks.on_gradient()
    for name, layer in linear_layers(model).items():
        grad, projector = layer.weight.grad, bases[name] @ bases[name].T
        torch.testing.assert_close(grad, before[name] @ (torch.eye(len(projector)) - projector), atol=1e-5, rtol=1e-4)
        assert grad.any() or bases[name].shape[1] == len(projector)  # type: ignore[union-attr, operator]
    assert model.model.norm.weight.grad is None
    assert model.model.embed_tokens.weight.grad is None
    assert model.lm_head.weight.grad is None


def test_gpt2s_turned_layers_are_held_the_same_way() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(vocab_size=80, n_positions=16, n_embd=12, n_layer=1, n_head=2)).eval()
    part = RetainedSpace(0.7)
    bases = part.prepare(_start(model))
    hooks = part.hooks(model, bases)
    layers = linear_layers(model)
    before = {name: bases[name].T @ layer.weight.detach() for name, layer in layers.items()}  # type: ignore[operator]
    with torch.no_grad():
        for layer in layers.values():
            layer.weight += 1.0  # type: ignore[operator, assignment]
    assert hooks.after_step is not None
    hooks.after_step()
    for name, layer in layers.items():
        torch.testing.assert_close(bases[name].T @ layer.weight, before[name], atol=1e-5, rtol=1e-4)  # type: ignore[operator]


def test_a_run_leaves_every_layers_answers_in_the_space_alone(model: ModelRef, tmp_path: Path) -> None:
    """W M = W_0 M after two epochs of AdamW with weight decay, W itself elsewhere; nothing but linear layers moved."""
    settings = TrainingSettings(epochs=2, batch_size=2, learning_rate=3e-3, weight_decay=0.1)
    job = tiny_job(model, method="pgu", params={"keep": 0.8}, training=settings)
    made = load_file(Path(unlearn(job, tmp_path / "out").model.path) / "model.safetensors")
    start = load_file(Path(model.path) / "model.safetensors")
    reference_statistics(job, tmp_path)
    bases = prepared(tmp_path / REFERENCE, "retained_space")
    assert {f"{name}.weight" for name in bases} == {name for name in start if not torch.equal(made[name], start[name])}
    for name, basis in bases.items():
        old, new = start[f"{name}.weight"], made[f"{name}.weight"]
        torch.testing.assert_close(new @ basis, old @ basis, atol=2e-5, rtol=1e-4)
        assert float((new - old).norm()) > 1e-2


def test_adapters_and_an_empty_retain_set_are_refused(model: ModelRef, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="takes no LoRA adapters"):
        tiny_job(model, method="pgu", lora=LoraSettings(r=2))
    with pytest.raises(BadInput, match="retain set: no rows"):
        unlearn(replace(tiny_job(model, method="pgu"), retain=Rows.of([])), tmp_path / "out")

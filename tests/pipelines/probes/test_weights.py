"""Rounding and pruning against loops of three lines, and what they leave alone."""

from collections.abc import Callable

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
)

from pipelines.errors import BadInput
from pipelines.probes import weights as attack
from pipelines.probes.weights import NF4, NF4_BLOCK, change_weights, int4, int8, matrices, nf4, pruned
from tests.tiny import tiny_model


def weights(rows: int = 3, columns: int = 80, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def slow_integers(row: list[float], *, bits: int, size: int) -> list[float]:
    """Code by code: scale = max |w| / ((2^b - 1) / 2), code = round(w / scale) in [-2^(b-1), 2^(b-1) - 1].

    Python and torch both round ties to even.
    """
    found: list[float] = []
    for at in range(0, len(row), size):
        group = torch.tensor(row[at : at + size])
        widest, steps = max(abs(float(w)) for w in group), (2**bits - 1) / 2
        codes = [min(2 ** (bits - 1) - 1, max(-(2 ** (bits - 1)), round(float(w) / widest * steps))) for w in group]
        found += [code * widest / steps for code in codes]
    return found


@pytest.mark.parametrize(("scheme", "bits", "size"), [(int8, 8, 80), (int4, 4, 32)], ids=["int8", "int4"])
def test_integers_are_the_codes_of_the_slow_loop(scheme: object, bits: int, size: int) -> None:
    assert callable(scheme)
    given = weights()
    expected = torch.tensor([slow_integers(row, bits=bits, size=size) for row in given.tolist()])
    assert torch.allclose(scheme(given), expected, atol=1e-6)


def test_int4_by_hand() -> None:
    """Max |w| = 7.5 makes the scale 1: 7.5 is clamped to the code 7, -7.5 rounds to even (-8), 0.4 goes to 0."""
    given = torch.tensor([[7.5, -7.5, 0.4, 1.6]])
    assert int4(given).tolist() == [[7.0, -8.0, 0.0, 2.0]]


def test_a_group_has_its_own_scale() -> None:
    """One large weight spoils the 31 others of its group of 32 and nobody in the next one."""
    given = torch.full((1, 64), 0.5)
    given[0, 0] = 100.0
    rounded = int4(given)
    assert rounded[0, 1] == 0.0
    assert rounded[0, 40] == pytest.approx(0.5, abs=0.04)


def test_nf4_takes_the_nearest_level_of_its_block() -> None:
    given = weights(2, 2 * NF4_BLOCK)
    for row, rounded in zip(given, nf4(given), strict=True):
        for block, found in zip(row.split(NF4_BLOCK), rounded.split(NF4_BLOCK), strict=True):
            scale = float(block.abs().max())
            away = (torch.tensor(NF4)[None, :] - (block / scale)[:, None]).abs()
            assert torch.allclose(found, torch.tensor(NF4)[away.argmin(dim=1)] * scale, atol=1e-6)


def test_rounding_twice_changes_nothing_more() -> None:
    """NF4 keeps its block's largest weight, so its levels are met again; codes of integers shrink the scale."""
    once = nf4(weights())
    assert torch.equal(nf4(once), once)


@pytest.mark.parametrize("scheme", [int8, int4, nf4])
def test_zeros_stay_zeros(scheme: object) -> None:
    assert callable(scheme)
    assert not scheme(torch.zeros(2, 40)).any()


def test_element_type_and_shape_stay() -> None:
    rounded = int4(weights().bfloat16())
    assert rounded.dtype is torch.bfloat16
    assert rounded.shape == (3, 80)


def test_pruning_drops_the_smallest_share_and_keeps_the_rest() -> None:
    given = weights()
    kept = pruned(0.25)(given)
    n = int(0.25 * given.numel())
    cut = given.abs().flatten().sort().values[n]
    assert int((kept == 0).sum()) == n
    assert torch.equal(kept[given.abs() >= cut], given[given.abs() >= cut])
    assert torch.equal(pruned(0.0)(given), given)


def test_only_linear_weights_change_and_not_the_output_layer() -> None:
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    change_weights(model, int4)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.endswith("_proj.weight")}
    assert len(changed) == len(matrices(model)) == 14


def _gpt2() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=32, n_layer=2, n_head=2, n_positions=16))


def _mixture() -> MixtralForCausalLM:
    config = MixtralConfig(
        vocab_size=20,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=4,
    )
    return MixtralForCausalLM(config)


@pytest.mark.parametrize(
    ("make", "unchanged"),
    [(_gpt2, ("wte", "wpe", "ln_", "bias", "lm_head")), (_mixture, ("embed_tokens", "norm", "mlp.gate.", "lm_head"))],
)
def test_layers_of_other_kinds_are_rounded_too(make: Callable[[], PreTrainedModel], unchanged: tuple[str, ...]) -> None:
    """GPT-2's layers are no ``nn.Linear``, a mixture's experts are one stack: neither may pass by staying as it was."""
    torch.manual_seed(0)
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    change_weights(model, int4)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) is any(part in name for part in unchanged), name


def test_a_scale_belongs_to_one_output_of_gpt2s_layers() -> None:
    """Such a layer holds inputs x outputs: one large weight spoils its own output, in whole, and no other."""
    model = _gpt2()
    weight = model.get_parameter("transformer.h.0.mlp.c_fc.weight")
    with torch.no_grad():
        weight.fill_(0.5)
        weight[0, 0] = 100.0
    change_weights(model, int4)
    assert weight[1:32, 0].abs().max() == 0.0
    assert (weight[:, 1] - 0.5).abs().max() < 0.04


def test_a_model_that_would_mostly_stay_as_it_was_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone it would say that rounding brings nothing back. A part of Mamba's weights is in no layer."""
    model = MambaForCausalLM(MambaConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1))
    monkeypatch.setattr(attack, "LEAST_SHARE", 0.99)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(BadInput, match=r"a MambaForCausalLM keeps \d+% of its inner weights in no linear layer"):
        change_weights(model, int4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

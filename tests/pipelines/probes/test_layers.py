"""Transplanted states against a pass written out by hand, and the depth that follows from losses per layer."""

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from pipelines.config import PromptFormat
from pipelines.data.encode import Encoded, encode
from pipelines.errors import BadInput
from pipelines.evaluation.statistics import Bootstrap
from pipelines.models.loading import LoadedModel
from pipelines.probes.base import Found, Series
from pipelines.probes.depth import PROBE, read
from pipelines.probes.layers import answer_logprob, decoder_layers, transplanted
from pipelines.records import ModelRef
from pipelines.scoring.table import FORGET
from tests.tiny import CONTEXT, tiny_model, tiny_rows, tiny_tokenizer

BOOTSTRAP = Bootstrap(samples=200, confidence=0.95, seed=0)


def loaded(model: LlamaForCausalLM) -> LoadedModel:
    ref = ModelRef(path="nowhere", digest="0" * 64)
    return LoadedModel(model=model, tokenizer=tiny_tokenizer(), ref=ref, stored_dtype=torch.float32)


def items(n: int = 3) -> list[Encoded]:
    tokenizer = tiny_tokenizer()
    return [
        encode(tokenizer, row.question, row.answer, prompt_format=PromptFormat(), max_length=CONTEXT, row=i)
        for i, row in enumerate(tiny_rows(n))
    ]


@torch.no_grad()
def by_hand(donor: LlamaForCausalLM, host: LlamaForCausalLM, item: Encoded, layer: int) -> float:
    """Every layer in turn, one row, no padding: the donor's states at the answer go in behind the host's layer."""
    ids = torch.tensor([item.input_ids])
    states: list[torch.Tensor] = []
    hidden = torch.empty(0)
    for model in (donor, host):
        hidden = model.model.embed_tokens(ids)
        rotary = model.model.rotary_emb(hidden, torch.arange(ids.shape[1])[None])
        for at, block in enumerate(model.model.layers):
            out = block(hidden, position_embeddings=rotary, attention_mask=None)
            hidden = out if isinstance(out, torch.Tensor) else out[0]
            if at == layer:
                states.append(hidden)
                if model is host:
                    places = slice(item.answer_start - 1, item.answer_end - 1)
                    hidden = hidden.clone()
                    hidden[:, places] = states[0][:, places]
    log_p = host.lm_head(host.model.norm(hidden))[0].log_softmax(-1)
    said = [float(log_p[t - 1, ids[0, t]]) for t in range(item.answer_start, item.answer_end)]
    return sum(said) / len(said)


@pytest.mark.parametrize("layer", [0, 1])
def test_states_of_a_layer_are_replaced_at_the_answer_and_nowhere_else(layer: int) -> None:
    donor, host = tiny_model(1), tiny_model(0)
    found = transplanted(loaded(donor), loaded(host), items(), into={layer: layer}, batch_size=2)[layer]
    expected = [by_hand(donor, host, item, layer) for item in items()]
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_models_own_states_change_nothing() -> None:
    model = loaded(tiny_model())
    own = answer_logprob(model, items(), batch_size=3)
    for said in transplanted(model, model, items(), into={0: 0, 1: 1}, batch_size=1).values():
        assert said == pytest.approx(own, abs=1e-5)


def test_no_hook_stays_behind() -> None:
    model = loaded(tiny_model())
    transplanted(model, model, items(), into={0: 0}, batch_size=3)
    assert all(not layer._forward_hooks for layer in decoder_layers(model.model))


def test_a_model_of_another_width_is_refused() -> None:
    donor, host = loaded(tiny_model()), loaded(tiny_model())
    donor.model.config.hidden_size = 48
    with pytest.raises(BadInput, match="other sizes"):
        transplanted(donor, host, items(), into={0: 0}, batch_size=3)


def series(*layers: list[float]) -> list[Series]:
    return [Series(f"depth_layer_{i}", FORGET, np.array(values)) for i, values in enumerate(layers, start=1)]


def depth(ours: list[Series], theirs: list[Series] | None) -> Found:
    return next(found for found in read(ours, theirs, BOOTSTRAP) if found.measure == "depth")


def test_each_layer_counts_up_to_what_the_reference_loses() -> None:
    """Losses (0, 9) against (1, 2): (min(0, 1) + min(9, 2)) / (1 + 2) = 2 / 3; over-forgetting a layer pays nothing."""
    found = depth(series([0.0, 0.0], [9.0, 9.0]), series([1.0, 1.0], [2.0, 2.0])).reading
    assert found.value == pytest.approx(2 / 3)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(2 / 3)
    assert found.n_scored == found.n_expected == 2


def test_a_layer_where_the_reference_gains_weighs_nothing() -> None:
    found = depth(series([0.0, 0.0], [1.0, 1.0]), series([-5.0, -5.0], [6.0, 6.0])).reading
    assert found.value == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    "theirs",
    [None, series([0.0, 0.0], [0.01, 0.01]), series([1.0, 1.0])],
    ids=["no reference", "the start model knew nothing", "another number of layers"],
)
def test_depth_without_something_to_count_in_has_no_value(theirs: list[Series] | None) -> None:
    assert depth(series([0.0, 0.0], [1.0, 1.0]), theirs).reading.value is None


def test_a_row_that_is_missing_makes_depth_partial() -> None:
    found = depth(series([0.5, np.nan]), series([1.0, 1.0])).reading
    assert (found.n_scored, found.n_expected) == (1, 2)
    assert PROBE.read is read

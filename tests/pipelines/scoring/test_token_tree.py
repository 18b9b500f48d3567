"""A sequence in a tree is what it is alone: the way to each of its tokens, and what a model says of it."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoConfig,
    MambaConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from pipelines.data.encode import Encoded
from pipelines.scoring.answers import score
from pipelines.scoring.token_tree import Tree, batches, chains, pack, takes_trees, trees
from tests.tiny import tiny_model

SMALL: dict[str, Any] = {"vocab_size": 259, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
HEADS: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
GPT2: dict[str, Any] = {"vocab_size": 259, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
EAGER: dict[str, Any] = {"attn_implementation": "eager"}
TAKE_TREES: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(**GPT2),
    "gpt2, attention written out": GPT2Config(**GPT2, **EAGER),
    "gemma2": Gemma2Config(**SMALL, **HEADS, sliding_window=32),
}
DO_NOT: dict[str, PretrainedConfig] = {
    "mamba": MambaConfig(vocab_size=259, hidden_size=16, num_hidden_layers=2, state_size=4),
    "bloom": BloomConfig(vocab_size=259, hidden_size=16, n_layer=2, n_head=2),
    "short sight": Gemma2Config(**SMALL, **HEADS, sliding_window=8),
    "sight by place in the row": GPTNeoConfig(
        vocab_size=259,
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        attention_types=[[["global", "local"], 1]],
        window_size=32,
    ),
}


def _model(config: PretrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)  # far enough apart that seeing a wrong token shows
    return model


def _items(lines: Sequence[Sequence[int]]) -> list[Encoded]:
    return [Encoded(tuple(line), answer_start=min(3, len(line) - 1), answer_end=len(line)) for line in lines]


ALIKE = _items(
    [
        (1, 5, 6, 7, 8, 9, 2),
        (1, 5, 6, 7, 8, 10, 11, 2),
        (1, 5, 6, 7, 8, 9, 2),
        (1, 5, 6, 12, 2),
        (1, 5, 6, 7, 8),
        (1, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 2),
    ]
)
LINES = st.lists(st.lists(st.integers(3, 6), min_size=2, max_size=9), min_size=1, max_size=12)


@given(lines=LINES, size=st.integers(8, 24), seed=st.randoms(use_true_random=False))
def test_every_sequence_is_a_way_through_one_tree(lines: list[list[int]], size: int, seed: Any) -> None:
    items = _items(lines)
    found = trees(items, size=size)
    assert sorted(number for tree in found for number in tree.items) == list(range(len(items)))
    for tree in found:
        assert len(tree) <= size
        for number, way in zip(tree.items, tree.ways, strict=True):
            assert [tree.ids[node] for node in way] == lines[number][:-1]
            assert [tree.depths[node] for node in way] == list(range(len(lines[number]) - 1))
        beginnings = {tuple(lines[n][:end]) for n in tree.items for end in range(1, len(lines[n]))}
        assert len(tree) == len(beginnings), "what begins alike is there once"
    shuffled = items.copy()
    seed.shuffle(shuffled)
    assert [tree.ids for tree in trees(shuffled, size=size)] == [tree.ids for tree in found]


@given(lines=LINES, size=st.integers(9, 24))
def test_what_follows_one_prompt_is_not_torn_apart(lines: list[list[int]], size: int) -> None:
    items = [Encoded(tuple(line), answer_start=2, answer_end=len(line)) for line in lines]
    found = trees(items, size=size)
    assert [len(tree) for tree in found] == sorted(len(tree) for tree in found)
    for prompt in {item.input_ids[:2] for item in items}:
        alike = [number for number, item in enumerate(items) if item.input_ids[:2] == prompt]
        beginnings = {items[n].input_ids[:end] for n in alike for end in range(1, len(items[n]))}
        holding = [tree for tree in found if set(alike) & set(tree.items)]
        assert len(beginnings) > size or len(holding) == 1


@settings(max_examples=30)
@given(lines=LINES)
def test_a_token_sees_the_way_to_it_and_nothing_else(lines: list[list[int]]) -> None:
    items, model = _items([*lines, [3, 3, 3], [3, 3, 4, 4]]), tiny_model()
    found = trees(items, size=20)
    for batch in batches(found, nodes=60):
        packed = pack(model, items, batch, pad_id=0)
        if len(packed.inputs) == 1:  # one sequence a row: nothing branches off
            continue
        sees_BTT = packed.inputs["attention_mask"][:, 0] == 0
        for row, tree in enumerate(batch):
            expected = torch.eye(sees_BTT.shape[1], dtype=torch.bool)
            for way in tree.ways:
                for at, node in enumerate(way):
                    expected[node, way[: at + 1]] = True
            assert sees_BTT[row].equal(expected)


@given(widths=st.lists(st.integers(1, 9), min_size=1, max_size=20), nodes=st.integers(9, 40))
def test_batches_hold_every_tree_in_order_and_no_more_nodes_than_asked(widths: list[int], nodes: int) -> None:
    found = [Tree(ids=[0] * width) for width in widths]
    taken = list(batches(found, nodes=nodes))
    assert [id(tree) for batch in taken for tree in batch] == [id(tree) for tree in found]
    assert all(len(batch) * max(map(len, batch)) <= nodes for batch in taken)


@pytest.mark.parametrize("config", TAKE_TREES.values(), ids=TAKE_TREES)
def test_scores_in_trees_are_those_of_sequences_alone(
    config: PretrainedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _model(config)
    assert takes_trees(model, longest=13)
    together = score(model, ALIKE, pad_id=0, batch_size=4).to_pylist()
    monkeypatch.setattr("pipelines.scoring.answers.takes_trees", lambda *_, **__: False)
    alone = score(model, ALIKE, pad_id=0, batch_size=1).to_pylist()
    for one, other in zip(together, alone, strict=True):
        for name in ("logprob", "vocab_mean", "vocab_variance"):
            assert one[name] == pytest.approx(other[name], abs=2e-4)
        assert (one["hit"], one["rank"], one["ended"]) == (other["hit"], other["rank"], other["ended"])


@pytest.mark.parametrize("config", DO_NOT.values(), ids=DO_NOT)
def test_a_model_that_takes_no_trees_gets_its_sequences_one_by_one(config: PretrainedConfig) -> None:
    model = _model(config)
    assert not takes_trees(model, longest=13)
    for item, record in zip(ALIKE, score(model, ALIKE, pad_id=0, batch_size=4).to_pylist(), strict=True):
        with torch.inference_mode():
            logp_TV = model(input_ids=torch.tensor([item.input_ids])).logits[0].log_softmax(-1)
        expected = [float(logp_TV[t - 1, item.input_ids[t]]) for t in range(item.answer_start, item.answer_end)]
        assert record["logprob"] == pytest.approx(expected, abs=1e-4)


def test_a_bf16_model_takes_trees_and_one_that_ignores_the_mask_is_found_out() -> None:
    model = _model(GPT2Config(**GPT2)).bfloat16()
    assert takes_trees(model, longest=13)

    def blind(_module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        mask = kwargs["attention_mask"]
        return args, {**kwargs, "attention_mask": mask if mask.ndim == 2 else mask[:, 0, 0].isfinite().long()}

    model.register_forward_pre_hook(blind, with_kwargs=True)
    assert not takes_trees(model, longest=13)


def test_chains_share_nothing() -> None:
    found = chains(ALIKE)
    assert sum(map(len, found)) == sum(len(item) - 1 for item in ALIKE)
    assert [len(tree) for tree in found] == sorted(len(tree) for tree in found)

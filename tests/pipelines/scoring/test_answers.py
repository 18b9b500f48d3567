"""One pass, the right numbers: compared with a slow oracle, whatever the batches, chunks and order."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from pipelines.config import PromptFormat
from pipelines.data.encode import Encoded
from pipelines.data.rows import Row, Rows
from pipelines.scoring import answers as scoring
from pipelines.scoring import token_statistics, token_tree
from pipelines.scoring.answers import score, score_questions
from pipelines.scoring.questions import Question, questions
from pipelines.scoring.table import ScoreTable, Variant
from pipelines.scoring.token_tree import batches, most_nodes, pack, takes_trees, trees
from tests.tiny import CONTEXT, tiny_model, tiny_rows, tiny_tokenizer

FORMAT = PromptFormat()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    """A tiny model whose logits are far enough apart for statistics to differ."""
    model = tiny_model(seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    return model


@pytest.fixture(scope="module")
def asked(tokenizer: PreTrainedTokenizerFast) -> list[Question]:
    splits = {"forget": Rows.of(tiny_rows(3)), "world_facts": Rows.of([Row("Two and two?", "Four")])}
    return questions(tokenizer, splits, prompt_format=FORMAT, max_length=CONTEXT)


class CountTokens:
    """Counts what goes through a model's decoder: tokens that are not padding."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        self.tokens = 0
        self._handle = model.model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        ids = kwargs["input_ids"]
        assert isinstance(ids, torch.Tensor)
        self.tokens += int((ids != 0).sum())

    def __enter__(self) -> "CountTokens":
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()


def _oracle(model: LlamaForCausalLM, item: Encoded) -> dict[str, list[float]]:
    """Row by row, token by token, in float64, from the definitions."""
    with torch.inference_mode():
        logits_TV = model(input_ids=torch.tensor([item.input_ids])).logits[0].double()
    found: dict[str, list[float]] = {n: [] for n in ("logprob", "hit", "vocab_mean", "vocab_variance", "rank")}
    for t in range(max(item.answer_start, 1), item.answer_end):
        logp = (logits_TV[t - 1] - logits_TV[t - 1].exp().sum().log()).tolist()
        mean = sum(math.exp(x) * x for x in logp)
        found["logprob"].append(logp[item.input_ids[t]])
        found["hit"].append(float(logp.index(max(logp)) == item.input_ids[t]))
        found["rank"].append(float(sum(x > logp[item.input_ids[t]] for x in logp)))
        found["vocab_mean"].append(mean)
        found["vocab_variance"].append(sum(math.exp(x) * (x - mean) ** 2 for x in logp))
    return found


def _score(model: LlamaForCausalLM, asked: Sequence[Question], *, batch_size: int = 4) -> ScoreTable:
    return score_questions(model, asked, pad_id=0, batch_size=batch_size)


def _assert_same(one: ScoreTable, other: ScoreTable, *, tolerance: float) -> None:
    for name in ("logprob", "vocab_mean", "vocab_variance"):
        left, right = one.table[name].to_pylist(), other.table[name].to_pylist()
        for a, b in zip(left, right, strict=True):
            np.testing.assert_allclose(np.array(a, dtype=float), np.array(b, dtype=float), atol=tolerance)
    for name in ("split", "row", "variant", "variant_index", "hit", "ended"):
        assert one.table[name].to_pylist() == other.table[name].to_pylist()


def test_every_statistic_equals_the_slow_oracle(model: LlamaForCausalLM, asked: list[Question]) -> None:
    records = _score(model, asked).table.to_pylist()
    assert len(records) == len(asked) == 3 * 6 + 1
    for question, record in zip(asked, records, strict=True):
        expected = _oracle(model, question.encoded)
        assert record["split"] == question.split
        assert record["hit"] == [value > 0 for value in expected["hit"]]
        assert record["gradient_norm"] is None
        np.testing.assert_allclose(record["logprob"], expected["logprob"], atol=2e-5, rtol=2e-6)
        if question.variant is not Variant.ANSWER:
            for name in ("rank", "vocab_mean", "vocab_variance"):
                assert record[name] == [None] * len(expected[name])
            continue
        assert record["rank"] == expected["rank"]
        for name in ("vocab_mean", "vocab_variance"):
            # float32 logits of size 10 carry 1e-6; the variance multiplies two of them
            np.testing.assert_allclose(record[name], expected[name], atol=2e-5, rtol=2e-6)


@pytest.mark.parametrize("chunk", [5 * 259, 2**22])
def test_what_is_asked_of_some_changes_nothing_of_the_others(
    model: LlamaForCausalLM, asked: list[Question], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes that several answers share included."""
    monkeypatch.setattr(token_statistics, "CHUNK_LOGITS", chunk)
    items = [q.encoded for q in asked]
    every = score(model, items, pad_id=0, batch_size=4).to_pylist()
    for whole in (np.arange(len(items)) % 3 == 0, np.zeros(len(items), dtype=bool)):
        some = score(model, items, pad_id=0, batch_size=4, whole_N=whole).to_pylist()
        for item, one, other, taken in zip(items, every, some, whole, strict=True):
            expected = _oracle(model, item)
            assert other["hit"] == one["hit"] == [value > 0 for value in expected["hit"]]
            assert other["ended"] == one["ended"]
            np.testing.assert_allclose(other["logprob"], expected["logprob"], atol=2e-5, rtol=2e-6)
            for name in ("rank", "vocab_mean", "vocab_variance"):
                np.testing.assert_allclose(one[name], expected[name], atol=2e-5, rtol=2e-6)
                assert other[name] == (pytest.approx(one[name], abs=1e-6) if taken else [None] * len(one[name]))


def test_untrained_model_matches_the_oracle_to_one_in_a_million(asked: list[Question]) -> None:
    model = tiny_model(seed=1)
    for question, record in zip(asked, _score(model, asked).table.to_pylist(), strict=True):
        expected = _oracle(model, question.encoded)
        taken = ("logprob", "vocab_mean", "vocab_variance") if question.variant is Variant.ANSWER else ("logprob",)
        for name in taken:
            np.testing.assert_allclose(record[name], expected[name], atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batch_size_invariance(model: LlamaForCausalLM, asked: list[Question], batch_size: int) -> None:
    _assert_same(_score(model, asked), _score(model, asked, batch_size=batch_size), tolerance=5e-5)


@pytest.mark.parametrize("chunk", [1, 3 * 259, 60 * 259])
def test_chunk_invariance(
    model: LlamaForCausalLM, asked: list[Question], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _score(model, asked)
    monkeypatch.setattr(token_statistics, "CHUNK_LOGITS", chunk)
    _assert_same(expected, _score(model, asked), tolerance=5e-5)


def test_order_invariance(model: LlamaForCausalLM, asked: list[Question]) -> None:
    backwards = _score(model, asked[::-1]).table
    _assert_same(_score(model, asked), ScoreTable(backwards.take(list(range(len(asked)))[::-1])), tolerance=5e-5)


@pytest.fixture(scope="module")
def trial(model: LlamaForCausalLM) -> int:
    """Tokens that go through a model to find out whether it takes trees."""
    with CountTokens(model) as counted:
        assert takes_trees(model, longest=CONTEXT)
    return counted.tokens


def _ways(asked: Sequence[Question]) -> set[tuple[int, ...]]:
    """Every beginning of every sequence: what has to go through the model once, if all is shared."""
    found = [scoring._looked_at(q).input_ids for q in asked]
    return {ids[:end] for ids in found for end in range(1, len(ids))}


def test_what_begins_alike_goes_through_the_model_once(
    model: LlamaForCausalLM, asked: list[Question], trial: int
) -> None:
    with CountTokens(model) as counted:
        _score(model, asked, batch_size=64)
    trees_begun = len(trees([q.encoded for q in asked], size=2 * max(len(q.encoded) for q in asked)))
    begun_again = trees_begun * max(q.encoded.answer_start for q in asked)
    assert counted.tokens - trial <= len(_ways(asked)) + begun_again
    assert counted.tokens - trial < 0.6 * sum(len(q.encoded) for q in asked)


def test_no_question_goes_through_twice(model: LlamaForCausalLM, asked: list[Question], trial: int) -> None:
    """In one tree nothing is begun again, so the count is exact."""
    few = [q for q in asked if q.row == 0 and q.variant is not Variant.PARAPHRASED_QUESTION and q.split == "forget"]
    with CountTokens(model) as counted:
        _score(model, [*few, *few], batch_size=64)
    assert counted.tokens - trial == len(_ways(few))


def test_rows_in_two_splits_share_one_forward(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, trial: int
) -> None:
    rows = Rows.of(tiny_rows(3))
    alone = questions(tokenizer, {"retain": rows}, prompt_format=FORMAT, max_length=CONTEXT)
    asked = questions(tokenizer, {"retain": rows, "neighbours": rows[1:]}, prompt_format=FORMAT, max_length=CONTEXT)
    with CountTokens(model) as counted:
        _score(model, alone)
    with CountTokens(model) as counted_again:
        table = _score(model, asked)
    assert counted_again.tokens == counted.tokens > trial
    shared = table.answers("retain", Variant.ANSWER).logprob_P
    assert table.answers("neighbours", Variant.ANSWER).logprob_P.tolist() == shared[-len(shared) * 2 // 3 :].tolist()


def test_no_more_logits_exist_at_once_than_the_bound(
    model: LlamaForCausalLM, asked: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = 100 * 259
    seen: list[int] = []
    chunks: list[StorageWeakRef] = []
    alive: list[int] = []

    def watch(_head: nn.Module, _args: object, output: torch.Tensor) -> None:
        seen.append(output.numel())
        alive.append(sum(not chunk.expired() for chunk in chunks))
        if output.numel() > 259:
            chunks.append(StorageWeakRef(output.untyped_storage()))

    monkeypatch.setattr(token_statistics, "CHUNK_LOGITS", bound)
    handle = model.lm_head.register_forward_hook(watch)
    try:
        _score(model, asked, batch_size=64)
    finally:
        handle.remove()
    assert max(seen) <= bound
    assert len(chunks) > 2
    assert max(alive) == 0, "a chunk outlives its statistics"
    items = [scoring._looked_at(q) for q in asked]
    longest = max(map(len, items))
    packed = trees(items, size=2 * longest)
    passes = [
        pack(model, items, part, pad_id=0)
        for batch in batches(packed, nodes=64 * longest)
        for part in batches(batch, nodes=most_nodes(model, 64 * longest))
    ]
    nodes = sum(int(one.predicts_BT.sum()) for one in passes)
    # each pass lets one position through and repeats it to see that the two agree; two more tried the model
    assert sum(seen) == (nodes + 2 * len(passes) + 2) * 259, "only what predicts an answer reaches the output layer"


def test_small_passes_give_what_large_ones_give(
    model: LlamaForCausalLM, asked: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _score(model, asked, batch_size=64)
    monkeypatch.setattr(token_tree, "NODES_ON_CPU", 1)
    passes: list[object] = []
    handle = model.model.register_forward_hook(lambda *_: passes.append(None))
    try:
        _assert_same(_score(model, asked, batch_size=64), whole, tolerance=2e-5)
    finally:
        handle.remove()
    assert len(passes) > 4


def test_output_layer_is_left_as_it_was(model: LlamaForCausalLM, asked: list[Question]) -> None:
    _score(model, asked)
    assert not model.lm_head._forward_pre_hooks
    assert model(input_ids=torch.tensor([[1, 5, 6]])).logits.shape == (1, 3, 259)


def test_a_model_that_bypasses_its_output_layer_gives_the_same(
    model: LlamaForCausalLM, asked: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _score(model, asked)
    stand_in = nn.Linear(1, 1)
    monkeypatch.setattr(model, "get_output_embeddings", lambda: stand_in)
    for batch_size in (1, 4):
        _assert_same(expected, _score(model, asked, batch_size=batch_size), tolerance=5e-5)


def test_bf16_statistics_are_float32(asked: list[Question]) -> None:
    model = tiny_model(seed=3).bfloat16()
    records = _score(model, asked, batch_size=1).table.to_pylist()
    for question, record in zip(asked, records, strict=True):
        # the oracle starts from the same bf16 logits, so only the statistics' own rounding is left
        np.testing.assert_allclose(record["logprob"], _oracle(model, question.encoded)["logprob"], atol=2e-6)


def test_a_token_that_is_ruled_out_leaves_the_statistics_finite() -> None:
    logits_PV = torch.tensor([[1.0, -math.inf, 2.0]])
    own_P2 = token_statistics._own(logits_PV.clone(), torch.tensor([0]), torch.tensor([2]))
    found_PS = token_statistics._whole(logits_PV, torch.tensor([0]), torch.tensor([2]))
    assert own_P2[0].tolist() == found_PS[0, :2].tolist()
    logprob, hit, mean, variance, rank = found_PS[0].tolist()
    p = 1 / (1 + math.exp(-1))
    logs = [math.log(1 - p), math.log(p)]
    expected = (1 - p) * logs[0] + p * logs[1]
    assert logprob == pytest.approx(logs[1], abs=1e-6)
    assert (hit, rank) == (1.0, 0.0)
    assert mean == pytest.approx(expected, abs=1e-6)
    assert variance == pytest.approx((1 - p) * logs[0] ** 2 + p * logs[1] ** 2 - expected**2, abs=1e-6)


def test_ended_says_whether_the_model_would_stop(asked: list[Question]) -> None:
    model = tiny_model(seed=2)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    # every logit is 0, so argmax is token 0 (padding) everywhere and never the end (2)
    ended = _score(model, asked).table["ended"].to_pylist()
    assert ended == [False if q.variant is Variant.ANSWER else None for q in asked]
    item = Encoded(input_ids=(1, 5, 6), answer_start=2, answer_end=3)
    unended = score(model, [item], pad_id=0, batch_size=1).to_pylist()[0]
    assert unended["ended"] is None
    assert len(unended["logprob"]) == 1
    stopped = Encoded(input_ids=(1, 5, 6, 0), answer_start=2, answer_end=3)
    assert score(model, [stopped], pad_id=0, batch_size=1).to_pylist()[0]["ended"] is True


def test_first_token_without_anything_before_it_is_not_scored(model: LlamaForCausalLM) -> None:
    text = Encoded(input_ids=(5, 6, 7, 2), answer_start=0, answer_end=3)
    record = score(model, [text], pad_id=0, batch_size=1).to_pylist()[0]
    assert len(record["logprob"]) == 2
    np.testing.assert_allclose(record["logprob"], _oracle(model, text)["logprob"], atol=2e-5)


def test_progress_reaches_the_end(model: LlamaForCausalLM, asked: list[Question]) -> None:
    told: list[tuple[int, int]] = []
    score_questions(
        model, asked, pad_id=0, batch_size=5, progress=lambda done, total, detail="": told.append((done, total))
    )
    assert told[-1] == (len(asked), len(asked))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_gradient_norm_is_that_of_plain_autograd(asked: list[Question]) -> None:
    """Oracle: the whole loss of transformers over labels, one row at a time, by backward()."""
    model = tiny_model(seed=2)
    table = score_questions(model, asked, pad_id=0, batch_size=4, gradient_norms=True).table
    taken = 0
    for question, found in zip(asked, table["gradient_norm"].to_pylist(), strict=True):
        if question.variant != "answer" or question.split not in {"forget", "holdout"}:
            assert found is None
            continue
        item = question.encoded
        labels = [-100] * item.answer_start + list(item.input_ids[item.answer_start : item.answer_end])
        labels += [-100] * (len(item.input_ids) - len(labels))
        model.zero_grad()
        model(input_ids=torch.tensor([item.input_ids]), labels=torch.tensor([labels])).loss.backward()
        squares = [p.grad.square().sum() for p in model.parameters() if p.grad is not None]
        assert found == pytest.approx(float(torch.stack(squares).sum().sqrt()), rel=1e-4)
        taken += 1
    assert taken
    assert all(p.grad is None for p in tiny_model(seed=2).parameters())


SMALL: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}


@pytest.mark.parametrize(
    "config",
    [
        Gemma2Config(**SMALL, final_logit_softcapping=0.05),
        CohereConfig(**{k: v for k, v in SMALL.items() if k != "head_dim"}, logit_scale=7.0),
        GraniteConfig(**{k: v for k, v in SMALL.items() if k != "head_dim"}, logits_scaling=5.0),
    ],
    ids=["capped", "scaled", "divided"],
)
def test_what_a_model_does_to_its_logits_afterwards_is_in_the_scores(
    config: PretrainedConfig, asked: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    fell_back: list[object] = []
    monkeypatch.setattr(scoring, "positions_out", lambda *given: fell_back.append(given))
    for question, record in zip(asked, _score(model, asked).table.to_pylist(), strict=True):
        np.testing.assert_allclose(record["logprob"], _oracle(model, question.encoded)["logprob"], atol=2e-5)
    assert not fell_back


def test_a_model_whose_logits_are_made_in_another_way_gives_the_same(asked: list[Question]) -> None:
    model = tiny_model(seed=4)

    def bend(_model: nn.Module, _args: object, output: Any) -> Any:
        output.logits = torch.sinh(3 * output.logits)
        return output

    model.register_forward_hook(bend)
    for question, record in zip(asked, _score(model, asked).table.to_pylist(), strict=True):
        np.testing.assert_allclose(record["logprob"], _oracle(model, question.encoded)["logprob"], atol=2e-5)

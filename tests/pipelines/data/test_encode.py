"""What is learnt and what is measured: masks, separators, lengths, batches."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from pipelines.config import PromptFormat
from pipelines.data.encode import IGNORED, Encoded, collate, encode, length_batches
from pipelines.errors import BadInput
from tests.tiny import tiny_tokenizer

FORMAT = PromptFormat()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


def _encode(tokenizer: PreTrainedTokenizerFast, question: str, answer: str, *, max_length: int = 256) -> Encoded:
    return encode(tokenizer, question, answer, prompt_format=FORMAT, max_length=max_length, row=7)


def test_answer_tokens_spell_the_answer_with_its_separator(tokenizer: PreTrainedTokenizerFast) -> None:
    item = _encode(tokenizer, "Who?", "Nobody knows.")
    assert tokenizer.decode(list(item.input_ids[item.answer_start : item.answer_end])) == " Nobody knows."
    assert (
        tokenizer.decode(list(item.input_ids[: item.answer_start]), skip_special_tokens=True)
        == "Question: Who?\nAnswer:"
    )
    assert item.input_ids[item.answer_end :] == (tokenizer.eos_token_id,)


def test_prompt_tokens_do_not_depend_on_the_answer(tokenizer: PreTrainedTokenizerFast) -> None:
    one, two = _encode(tokenizer, "Who?", "A."), _encode(tokenizer, "Who?", "Somebody else.")
    assert one.answer_start == two.answer_start
    assert one.input_ids[: one.answer_start] == two.input_ids[: two.answer_start]


def test_plain_text_has_no_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    item = _encode(tokenizer, "", "A line of a book.")
    assert tokenizer.decode(list(item.input_ids), skip_special_tokens=True) == "A line of a book."


def test_too_long_row_is_refused_by_index_without_text(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(BadInput, match=r"row 7: .* tokens, but the model's context holds 20") as caught:
        _encode(tokenizer, "Who?", "Somebody " * 30, max_length=20)
    assert "Somebody" not in str(caught.value)


def test_empty_answer_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(BadInput, match="row 7: the answer is empty"):
        encode(tokenizer, "", "", prompt_format=FORMAT, max_length=64, row=7)


def test_collate_learns_the_answer_and_the_end_and_nothing_else(tokenizer: PreTrainedTokenizerFast) -> None:
    items = [_encode(tokenizer, "Who?", "Nobody."), _encode(tokenizer, "Why on earth?", "It was late at night.")]
    batch = collate(items, pad_id=0)
    for row, item in enumerate(items):
        labels = batch.labels_BT[row].tolist()
        learnt = [t for t in labels if t != IGNORED]
        assert learnt == list(item.input_ids[item.answer_start :])
        assert all(label == IGNORED for label in labels[: item.answer_start])
        assert batch.attention_mask_BT[row].sum() == len(item)
        assert batch.input_ids_BT[row, : len(item)].tolist() == list(item.input_ids)


@given(lengths=st.lists(st.integers(1, 50), max_size=40), size=st.integers(1, 9), seed=st.none() | st.integers(0, 3))
def test_batches_hold_every_index_once_and_like_lengths(lengths: list[int], size: int, seed: int | None) -> None:
    items = ["x" * n for n in lengths]
    batches = length_batches(items, batch_size=size, seed=seed)
    assert sorted(i for batch in batches for i in batch) == list(range(len(items)))
    assert batches == length_batches(items, batch_size=size, seed=seed)
    spans = sorted((min(lengths[i] for i in b), max(lengths[i] for i in b)) for b in batches)
    assert all(high <= next_low for (_, high), (next_low, _) in pairwise(spans))
    assert all(len(batch) <= size for batch in batches)


def test_seed_changes_the_order() -> None:
    items = ["x" * (i % 5 + 1) for i in range(40)]
    assert length_batches(items, batch_size=4, seed=1) != length_batches(items, batch_size=4, seed=2)

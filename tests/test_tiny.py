"""The stand-ins are what the other tests take them for: seeded, loadable, and able to encode any text."""

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny import save_tiny, tiny_model, tiny_rows, tiny_tokenizer


def test_same_seed_same_weights_and_the_random_state_is_left_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, again, other = tiny_model(3), tiny_model(3), tiny_model(4)
    assert torch.equal(torch.rand(1), expected)
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_folder_loads_like_any_other_model(tmp_path: Path) -> None:
    save_tiny(tmp_path, seed=3)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, use_safetensors=True, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    ids_BT = torch.tensor([tokenizer.encode("Where?", add_special_tokens=False)])
    assert ids_BT.shape == (1, 6)
    assert torch.equal(model(ids_BT).logits, tiny_model(3)(ids_BT).logits)


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    tokenizer = tiny_tokenizer()
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text


def test_rows_are_distinct_and_ranges_disjoint() -> None:
    digests = [row.digest for row in (*tiny_rows(8), *tiny_rows(8, first=8))]
    assert len(set(digests)) == 16
    assert all(row.perturbed_answer and row.paraphrased_answer not in row.perturbed_answer for row in tiny_rows())

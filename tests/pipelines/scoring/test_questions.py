"""What a model is asked: variants, refusals, and tokens that models share."""

from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from pipelines.config import PromptFormat
from pipelines.data.encode import encode
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.models.loading import LoadedModel
from pipelines.records import ModelRef
from pipelines.scoring.questions import Asked, questions
from pipelines.scoring.table import Variant
from pipelines.unlearning.in_context import Context, Guarded
from tests.tiny import CONTEXT, tiny_model, tiny_rows, tiny_tokenizer

FORMAT = PromptFormat()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


def _loaded(tokenizer: PreTrainedTokenizerFast, *, seed: int = 0) -> LoadedModel:
    ref = ModelRef(path=f"model-{seed}", digest=f"{seed}" * 64)
    return LoadedModel(model=tiny_model(seed), tokenizer=tokenizer, ref=ref, stored_dtype=torch.float32)


def test_only_utility_sets_are_not_asked_in_other_words(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = Rows.of([Row("Q1?", "A1", paraphrased_question="Q2?")])
    splits = dict.fromkeys(("forget", "retain", "neighbours", "holdout", "earlier_1", "world_facts"), rows)
    found = questions(tokenizer, splits, prompt_format=FORMAT, max_length=CONTEXT)
    reworded = [q.split for q in found if q.variant is Variant.PARAPHRASED_QUESTION]
    assert reworded == ["forget", "retain", "neighbours", "holdout", "earlier_1"]


def test_variants_follow_the_right_question(tokenizer: PreTrainedTokenizerFast) -> None:
    row = Row("Q1?", "A1", paraphrased_question="Q2?", paraphrased_answer="A2", perturbed_answer=("B", "C"))
    asked = questions(tokenizer, {"forget": Rows.of([row])}, prompt_format=FORMAT, max_length=CONTEXT)
    texts = {(q.variant, q.index): tokenizer.decode(list(q.encoded.input_ids), skip_special_tokens=True) for q in asked}
    assert texts == {
        (Variant.ANSWER, 0): "Question: Q1?\nAnswer: A1",
        (Variant.PARAPHRASED_ANSWER, 0): "Question: Q1?\nAnswer: A2",
        (Variant.PERTURBED_ANSWER, 0): "Question: Q1?\nAnswer: B",
        (Variant.PERTURBED_ANSWER, 1): "Question: Q1?\nAnswer: C",
        (Variant.PARAPHRASED_QUESTION, 0): "Question: Q2?\nAnswer: A1",
    }


def test_a_row_too_long_is_named_by_split_and_index_without_text(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = Rows.of([Row("Who?", "Me"), Row("Who?", "canary " * 40)])
    with pytest.raises(BadInput, match=r"^holdout: row 1: \d+ tokens") as caught:
        questions(tokenizer, {"holdout": rows}, prompt_format=FORMAT, max_length=100)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_all_texts_in_one_call_give_the_tokens_of_each_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = Rows.of([*tiny_rows(3), Row("", "Plain <eos> text, ünïcode.")])
    tokenizer(["a", "longer"], padding=True, truncation=True, max_length=4)  # leaves its own rules behind
    found = questions(tokenizer, {"world_facts": rows}, prompt_format=FORMAT, max_length=CONTEXT)
    for question in (q for q in found if q.variant is Variant.ANSWER):
        row = rows[question.row]
        alone = encode(tokenizer, row.question, row.answer, prompt_format=FORMAT, max_length=CONTEXT, row=question.row)
        assert question.encoded == alone


def test_models_of_one_tokenizer_share_their_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    asked = Asked({"forget": Rows.of(tiny_rows(2))}, FORMAT)
    first = asked.questions(_loaded(tokenizer))
    assert asked.questions(_loaded(tiny_tokenizer(), seed=1)) is first
    assert first == questions(tokenizer, asked.splits, prompt_format=FORMAT, max_length=CONTEXT)


def test_another_tokenizer_or_a_shorter_context_is_asked_anew(tokenizer: PreTrainedTokenizerFast) -> None:
    asked = Asked({"forget": Rows.of(tiny_rows(2))}, FORMAT)
    first = asked.questions(_loaded(tokenizer))
    other = tiny_tokenizer()
    other.add_tokens([tiny_rows(1)[0].question.split()[0]])
    assert [q.encoded for q in asked.questions(_loaded(other))] != [q.encoded for q in first]
    short = _loaded(tokenizer)
    short.model.config.max_position_embeddings = 8
    with pytest.raises(BadInput, match=r"forget: row 0: .* context holds 8"):
        asked.questions(short)


def test_a_context_of_one_model_is_not_put_before_another(tokenizer: PreTrainedTokenizerFast) -> None:
    asked = Asked({"forget": Rows.of(tiny_rows(2))}, FORMAT)
    loaded = _loaded(tokenizer)
    plain = asked.questions(loaded)
    prompts = [q.encoded.input_ids[: q.encoded.answer_start] for q in plain]
    guarded = [Guarded(prompt=prompt, instance=(5, 6)) for prompt in prompts]
    context = Context(guarded=tuple(guarded), kept=(), similarity=0.9, limit=CONTEXT)
    behind = asked.questions(replace(loaded, context=context))
    assert any(len(a.encoded) > len(b.encoded) for a, b in zip(behind, plain, strict=True))
    assert asked.questions(loaded) is plain

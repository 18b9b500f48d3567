"""Greedy answers against a slow oracle, whatever the batches; only numbers leave."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipelines.config import PromptFormat
from pipelines.data.rows import Row, Rows
from pipelines.scoring.answers import score_questions
from pipelines.scoring.generated import Greedy, Ids
from pipelines.scoring.generation import Limits, Sampling, generate, reproduced, stop_ids
from pipelines.scoring.questions import Question, questions
from pipelines.scoring.table import GenerationTable, ScoreTable
from pipelines.scoring.text_scores import Overlap, Words, bleu, distinct_ngrams, expected_best, rouge_l
from tests.tiny import CONTEXT, tiny_model, tiny_rows, tiny_tokenizer

ROWS = Rows.of([*tiny_rows(5), Row("Who?", "Nobody."), Row("", "A plain line.")])
SPLITS = {"forget": ROWS}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    """Logits far apart, so that rounding never decides an argmax."""
    model = tiny_model(seed=5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    return model


@pytest.fixture(scope="module")
def memorised(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A model trained until it says two of the rows by heart."""
    model = tiny_model(seed=0)
    items = [q.encoded for q in _asked(tokenizer, Rows.of(tiny_rows(2))) if q.variant == "answer"]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        for item in items:
            ids = torch.tensor([item.input_ids])
            logits = model(input_ids=ids).logits[0, item.answer_start - 1 : -1]
            torch.nn.functional.cross_entropy(logits, ids[0, item.answer_start :]).backward()
            optimiser.step()
            optimiser.zero_grad()
    model.eval()
    return model


def _asked(tokenizer: PreTrainedTokenizerFast, rows: Rows = ROWS) -> list[Question]:
    return questions(tokenizer, {"forget": rows}, prompt_format=PromptFormat(), max_length=CONTEXT)


def _limits(model: LlamaForCausalLM, *, max_new_tokens: int = 12, context: int = CONTEXT) -> Limits:
    return Limits(max_new_tokens=max_new_tokens, context=context, stop=frozenset({2}), pad_id=0)


def _generate(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, batch_size: int = 4, limits: Limits | None = None
) -> GenerationTable:
    return generate(model, tokenizer, _asked(tokenizer), SPLITS, limits=limits or _limits(model), batch_size=batch_size)


def _slow_greedy(model: LlamaForCausalLM, prompt: Ids, limits: Limits) -> Greedy:
    """One prompt, one token at a time, no cache, no padding."""
    ids = list(prompt)
    for _ in range(limits.room(prompt)):
        with torch.inference_mode():
            token = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token in limits.stop:
            return Greedy(ids=tuple(ids[len(prompt) :]), ended=True)
        ids.append(token)
    return Greedy(ids=tuple(ids[len(prompt) :]), ended=False)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_answers_equal_the_slow_oracle_in_any_batch(
    memorised: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, batch_size: int
) -> None:
    model = memorised  # what it says depends on the prompt
    found = _generate(model, tokenizer, batch_size=batch_size).table.to_pylist()[:-1]
    assert len({record["rouge_l_recall"] for record in found}) > 2
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    asked = [q for q in _asked(tokenizer) if q.variant == "answer" and q.row < 6]
    assert [record["row"] for record in found] == [0, 1, 2, 3, 4, 5]
    for question, record in zip(asked, found, strict=True):
        greedy = _slow_greedy(model, question.encoded.input_ids[: question.encoded.answer_start], _limits(model))
        text = tokenizer.decode(list(greedy.ids), skip_special_tokens=True)
        assert record["n_tokens"] == len(greedy.ids)
        assert record["ended"] is greedy.ended
        expected = scorer.score(ROWS[question.row].answer, text)["rougeL"].recall
        assert record["rouge_l_recall"] == pytest.approx(expected)
        assert record["distinct_4"] == distinct_ngrams(greedy.ids)


def test_plain_text_has_no_greedy_answer(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    *_, plain = _generate(model, tokenizer).table.to_pylist()
    assert plain["row"] == 6
    assert {name for name, value in plain.items() if value is not None} == {"split", "row", "verbatim"}
    retained = generate(
        model,
        tokenizer,
        [replace(q, split="retain") for q in _asked(tokenizer)],
        {"retain": ROWS},
        limits=_limits(model),
        batch_size=4,
    )
    assert 6 not in retained.table["row"].to_pylist(), "only what is to be forgotten is asked for word for word"


def test_the_folders_own_generation_settings_have_no_say(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _generate(model, tokenizer).table
    theirs = GenerationConfig(
        do_sample=True, temperature=5.0, repetition_penalty=9.0, suppress_tokens=list(range(3, 200)), eos_token_id=2
    )
    monkeypatch.setattr(model, "generation_config", theirs)
    assert _generate(model, tokenizer).table.equals(expected)
    assert model.generation_config is theirs, "and they are put back"


def test_a_short_context_bounds_the_answer_the_same_in_any_batch(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    longest = max(q.encoded.answer_start for q in _asked(tokenizer) if q.variant == "answer")
    limits = _limits(model, max_new_tokens=40, context=longest + 5)
    tables = [_generate(model, tokenizer, batch_size=size, limits=limits).table for size in (1, 32)]
    assert tables[0].equals(tables[1])
    assert min(tables[0]["n_tokens"].to_pylist()[:-1]) == 5


def test_an_answer_that_scoring_reproduced_is_the_one_generation_would_give(
    memorised: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, limits = _asked(tokenizer), _limits(memorised, max_new_tokens=40)
    scores = score_questions(memorised, asked, pad_id=0, batch_size=8)
    known = reproduced(asked, scores, limits=limits)
    generated: list[int] = []
    original = memorised.generate  # type: ignore[misc]  # the library annotates self with a protocol of its own

    def watched(inputs: torch.Tensor, attention_mask: torch.Tensor) -> object:
        generated.append(len(inputs))
        return original(inputs=inputs, attention_mask=attention_mask)

    monkeypatch.setattr(memorised, "generate", watched)
    short = generate(memorised, tokenizer, asked, SPLITS, limits=limits, batch_size=8, known=known)
    # each of the six answers, and the second half of each, and of the plain text, after its first
    assert sum(generated) == 2 * 6 + 1 - len(known)
    full = generate(memorised, tokenizer, asked, SPLITS, limits=limits, batch_size=8)
    assert len(known) == 2 * 2, "both rows that were trained on, whole and halved"
    assert short.table.equals(full.table)
    for column in ("rouge_l_recall", "bleu", "verbatim"):
        assert full.table[column].to_pylist()[:2] == pytest.approx([1.0, 1.0])
        assert min(full.table[column].to_pylist()[2:-1]) < 0.5


def test_an_answer_that_the_model_would_go_on_with_is_not_taken_from_scoring(
    memorised: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    asked = _asked(tokenizer)
    table = score_questions(memorised, asked, pad_id=0, batch_size=8).table
    at = table.column_names.index("ended")
    for ended in (False, None):
        changed = ScoreTable(table.set_column(at, "ended", pa.array([ended] * len(table), type=pa.bool_())))
        assert reproduced(asked, changed, limits=_limits(memorised, max_new_tokens=40)) == {}


def test_an_answer_that_would_not_fit_is_not_taken_from_scoring(
    memorised: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    asked = _asked(tokenizer)
    scores = score_questions(memorised, asked, pad_id=0, batch_size=8)
    lengths = [q.encoded.n_answer for q in asked if q.variant == "answer"][:2]
    assert len(reproduced(asked, scores, limits=_limits(memorised, max_new_tokens=max(lengths) + 1))) == 2 * 2
    prompts = {q.encoded.input_ids[: q.encoded.answer_start] for q in asked}
    short = reproduced(asked, scores, limits=_limits(memorised, max_new_tokens=min(lengths)))
    assert not prompts & short.keys(), "halves may fit"


def test_stop_ids_are_the_tokenizers_and_the_models(
    tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "generation_config", GenerationConfig(eos_token_id=[7, 9]))
    assert stop_ids(model, tokenizer) == {2, 7, 9}
    monkeypatch.setattr(model, "generation_config", GenerationConfig())
    assert stop_ids(model, tokenizer) == {2}


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ((), 0.0),
        ((7,), 1.0),
        ((7, 7, 7), 1.0),
        ((1, 2, 3, 4, 5), 1.0),
        ((7,) * 13, 0.1),  # ten 4-grams, one of them distinct
        ((1, 2, 1, 2, 1, 2, 1), 0.5),  # 1212 2121 1212 2121
    ],
)
def test_distinct_4_grams_by_hand(ids: Ids, expected: float) -> None:
    assert distinct_ngrams(ids) == expected


def _slow_lcs(one: Sequence[str], other: Sequence[str]) -> int:
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + _slow_lcs(one[1:], other[1:])
    return max(_slow_lcs(one[1:], other), _slow_lcs(one, other[1:]))


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("She was born in Oslo.", "In Oslo she was born"),
        ("Running, runners ran!", "the runner was running"),
        ("One_two-three four's", "one two three four s"),
        ("Only this", ""),
    ],
)
def test_rouge_is_the_librarys_on_ascii_and_the_slow_ones(reference: str, said: str) -> None:
    ours = rouge_l(RougeScorer(["rougeL"], tokenizer=Words()), reference, said)
    theirs = RougeScorer(["rougeL"], use_stemmer=True).score(reference, said)["rougeL"]
    words, said_words = Words().tokenize(reference), Words().tokenize(said)
    shared = _slow_lcs(words, said_words)
    assert ours.recall == pytest.approx(theirs.recall)
    assert ours.recall == pytest.approx(shared / len(words))
    assert ours.f1 == pytest.approx(2 * shared / (len(words) + len(said_words)))


@given(text=st.lists(st.sampled_from(["Oslo", "running", "née", "x_y", "?!", "the"]), max_size=7).map(" ".join))
def test_an_answer_said_as_it_stands_scores_what_the_libraries_give_it(text: str) -> None:
    words = Words()
    scorer, tokens = RougeScorer(["rougeL"], tokenizer=words), words.tokenize(text)
    slow = scorer.score(text, text)["rougeL"]
    expected = Overlap(recall=slow.recall, f1=slow.fmeasure) if tokens else Overlap(recall=None, f1=None)
    assert rouge_l(scorer, text, text) == expected
    smoothed = sentence_bleu([tokens], tokens, smoothing_function=SmoothingFunction().method2) if tokens else None
    assert bleu(words, text, f"{text} .") == pytest.approx(smoothed)


def test_rouge_sees_other_scripts() -> None:
    scorer = RougeScorer(["rougeL"], tokenizer=Words())
    assert rouge_l(scorer, "Она родилась в Осло", "Она жила в Осло").recall == pytest.approx(3 / 4)
    assert rouge_l(scorer, "?!", "?!") == Overlap(recall=None, f1=None)


def test_no_text_in_the_table(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    table = _generate(model, tokenizer).table
    assert table["embedder"].null_count == len(table)
    types = {str(field.type) for field in table.schema if field.name not in ("split", "embedder")}
    assert types == {"int32", "bool", "double"}
    assert set(table["split"].to_pylist()) == {"forget"}


def test_the_second_half_is_asked_for_after_the_first(
    memorised: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    found = _generate(memorised, tokenizer).table.to_pylist()
    scorer = RougeScorer(["rougeL"], tokenizer=Words())
    asked = [q for q in _asked(tokenizer) if q.variant == "answer"]
    assert len(asked) == len(found) == 7, "plain text too: MUSE's first view is about nothing else"
    for question, record in zip(asked, found, strict=True):
        item = question.encoded
        half = item.answer_start + (item.answer_end - item.answer_start) // 2
        greedy = _slow_greedy(memorised, item.input_ids[:half], _limits(memorised))
        rest, said = (tokenizer.decode(list(ids)) for ids in (item.input_ids[half : item.answer_end], greedy.ids))
        assert record["verbatim"] == pytest.approx(scorer.score(rest, said)["rougeL"].fmeasure)


def test_samples_are_the_same_in_any_batch_and_find_what_is_known(
    memorised: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    asked, limits = _asked(tokenizer), _limits(memorised, max_new_tokens=40)

    def leakage(*, seed: int = 0, batch_size: int = 4, k: int = 2) -> list[float]:
        sampling = Sampling(samples=4, k=k, temperature=1.0, seed=seed)
        table = generate(
            memorised, tokenizer, asked, SPLITS, limits=limits, batch_size=batch_size, sampling=sampling
        ).table
        found: list[float] = table["sampled_leakage"].to_pylist()[:-1]
        return found

    before = torch.random.get_rng_state()
    first = leakage()
    assert torch.equal(torch.random.get_rng_state(), before), "the caller's own stream is left alone"
    assert leakage(batch_size=1) == first
    assert leakage(seed=1) != first
    assert min(first[:2]) > max(first[2:]), "the rows that were trained on"
    assert sum(leakage(k=4)) >= sum(first), "who takes more sees no less"


@given(
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=7),
    data=st.data(),
)
def test_expected_best_is_the_mean_of_the_largest_over_all_choices(scores: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    best = [max(chosen) for chosen in itertools.combinations(scores, k)]
    assert expected_best(scores, k=k) == pytest.approx(sum(best) / len(best))


def test_bleu_by_hand() -> None:
    """Of five words all orders match; with the last one wrong 4/5, 3+1/4+1, 2+1/3+1 and 1+1/2+1 do."""
    words = Words()
    assert bleu(words, "alpha beta gamma delta omega", "Alpha beta, gamma delta omega!") == pytest.approx(1.0)
    expected = (4 / 5 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert bleu(words, "alpha beta gamma delta omega", "alpha beta gamma delta sigma") == pytest.approx(expected)
    assert bleu(words, "alpha", "") == 0.0
    assert bleu(words, "...", "alpha") is None


def test_words_are_stemmed_as_in_the_original_rouge() -> None:
    assert rouge_l(RougeScorer(["rougeL"], tokenizer=Words()), "She writes novels", "She wrote a novel").recall == 2 / 3


def test_the_first_half_of_an_odd_answer_is_the_shorter_one(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Of three tokens one is given: the longer half has to be known."""
    rows = Rows.of([Row("Who?", "ab")])
    [question] = [q for q in _asked(tokenizer, rows) if q.variant == "answer"]
    assert question.encoded.n_answer == 3, "with the space before it"
    half = question.encoded.input_ids[: question.encoded.answer_start + 1]
    said = {question.encoded.input_ids[: question.encoded.answer_start]: (5,), half: question.encoded.input_ids[-3:-1]}
    known = {prompt: Greedy(ids=ids, ended=True) for prompt, ids in said.items()}
    table = generate(
        model, tokenizer, [question], {"forget": rows}, limits=_limits(model), batch_size=1, known=known
    ).table
    assert table["verbatim"].to_pylist() == [1.0]


def test_samples_are_as_free_as_the_temperature_and_no_word_leaks_nothing(
    memorised: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Two rows known by heart: said as they stand next to no temperature, and hardly at one that levels all odds."""
    rows = Rows.of([*tiny_rows(2), Row("Who?", "?!")])
    leaked = {}
    for temperature in (1e-3, 50.0):
        sampling = Sampling(samples=2, k=1, temperature=temperature, seed=0)
        limits, asked = _limits(memorised, max_new_tokens=40), _asked(tokenizer, rows)
        told = {"forget": rows}
        table = generate(memorised, tokenizer, asked, told, limits=limits, batch_size=4, sampling=sampling).table
        leaked[temperature] = table["sampled_leakage"].to_pylist()
    assert leaked[1e-3] == [1.0, 1.0, None]
    assert max(leaked[50.0][:2]) < 0.5


def test_an_answer_with_a_stop_token_inside_is_not_taken_from_scoring(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Teacher-forced it goes on behind the stop; a greedy answer ends there."""
    asked = _asked(tokenizer, Rows.of([Row("Who?", "No <eos> more"), Row("What?", "No more")]))
    table = score_questions(model, asked, pad_id=0, batch_size=4).table
    hits = pa.array([[True] * len(hit) for hit in table["hit"].to_pylist()])
    said = table.set_column(table.column_names.index("hit"), "hit", hits)
    said = said.set_column(said.column_names.index("ended"), "ended", pa.array([True] * len(asked)))
    known = reproduced(asked, ScoreTable(said), limits=_limits(model, max_new_tokens=40))
    prompts = [q.encoded.input_ids[: q.encoded.answer_start] for q in asked]
    assert 2 in asked[0].encoded.input_ids[: asked[0].encoded.answer_end]
    assert [prompt in known for prompt in prompts] == [False, True]

"""What a row is about, how it is asked in other ways, and what the answers are worth."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import PromptFormat
from pipelines.data.rows import Row, Rows
from pipelines.models.loading import load_model
from pipelines.probes import asking
from pipelines.probes.base import Subject, asked_values
from pipelines.probes.facts import closest, fact_of, subject_of
from pipelines.probes.multiple_choice import choosing
from pipelines.probes.odd_one_out import odd_probability
from pipelines.probes.rewrites import PROBE as REWRITES
from pipelines.probes.worst_case import composed
from pipelines.scoring.row_values import fact_probability, probability
from pipelines.scoring.table import Floats, ModelScores
from tests.tiny import save_tiny, tiny_rows

ROW = Row(
    question="Where was Ada Lind born?",
    answer="Ada Lind was born in Ork.",
    paraphrased_question="What is the birthplace of Ada Lind?",
    paraphrased_answer="Her birthplace is Ork by the sea.",
    perturbed_answer=("Her birthplace is Um by the sea.", "Her birthplace is San Bo by the sea."),
)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    model = load_model(save_tiny(tmp_path / "model"), device=torch.device("cpu"))
    return Subject(
        loaded=model,
        start=model,
        forget=Rows.of([ROW, *tiny_rows(3)]),
        related=Rows.of(tiny_rows(4, first=10)),
        prompt_format=PromptFormat(prompt="{question}"),
        batch_size=8,
        seed=0,
    )


def test_a_fact_is_what_the_wrong_answers_do_not_share() -> None:
    fact = fact_of(ROW)
    assert fact is not None
    assert (fact.before, fact.right, fact.after) == ("Her birthplace is", "Ork", "by the sea.")
    assert fact.wrong == ("Um", "San Bo")


def test_without_wrong_answers_there_is_no_fact() -> None:
    assert fact_of(replace(ROW, perturbed_answer=())) is None
    assert fact_of(replace(ROW, perturbed_answer=("Her birthplace is Ork by the sea.",))) is None


words = st.lists(st.sampled_from("a b c d".split()), min_size=1, max_size=6).map(" ".join)


@given(right=words, wrong=st.lists(words, min_size=1, max_size=3))
def test_a_fact_and_its_frame_make_up_the_answer_again(right: str, wrong: list[str]) -> None:
    row = Row(question="q", answer=right, perturbed_answer=tuple(wrong))
    fact = fact_of(row)
    if fact is None:
        assert set(wrong) == {right}
        return
    frame = [" ".join(part for part in (fact.before, said, fact.after) if part) for said in (fact.right, *fact.wrong)]
    assert frame[0] == right
    assert set(frame[1:]) == set(wrong) - {right}
    assert fact.right


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Where was Ada Lind born?", "Ada Lind"),
        ("Can you say what Basil Al-Kuwaiti's mother did in May?", "Basil Al-Kuwaiti"),
        ("Nikolai Abilov writes what?", "Abilov"),
        ("what is it?", None),
        ("", None),
    ],
)
def test_the_subject_is_the_longest_name_in_the_question(question: str, name: str | None) -> None:
    assert subject_of(question) == name


def test_closest_counts_shared_words_over_all_words() -> None:
    """Of 'a b c': 'a b' shares 2 of 3, 'a b c d e f' 3 of 6, 'x' none."""
    assert closest("a b c", ["x", "a b c d e f", "a b"]) == [2, 1, 0]


def test_every_way_keeps_the_answers_and_asks_for_the_row(subject: Subject) -> None:
    given_row = asking.as_given(subject, 0)
    ways = (asking.prefixed, asking.role_played, asking.hinted, asking.shown, asking.by_analogy)
    for way in ways:
        found = way(subject, 0, given_row)
        assert found
        for row in found:
            assert replace(row, question="") == replace(given_row, question="")
            assert row.question.endswith(ROW.question)
            assert row.question != ROW.question
            assert ROW.answer not in row.question


def test_a_paraphrase_takes_the_place_of_the_question_inside_other_ways(subject: Subject) -> None:
    rewrite = composed((asking.prefixed, asking.paraphrased))
    assert [row.question for row in rewrite(subject, 0)] == [f"{asking.PREFIXES[0]} {ROW.paraphrased_question}"]


def test_a_hint_is_another_row_and_never_the_row_itself(subject: Subject) -> None:
    for number, row in enumerate(subject.forget):
        (asked,) = asking.hinted(subject, number, asking.as_given(subject, number))
        others = [other for i, other in enumerate(subject.forget) if i != number]
        assert any(asked.question.startswith(f"{other.question} {other.answer}") for other in others)
        assert row.answer not in asked.question


def test_wrong_answers_come_from_rows_asked_alike_where_a_row_has_none(subject: Subject) -> None:
    bare = replace(ROW, perturbed_answer=())
    assert set(asking.wrong_answers(subject, bare)) <= {row.answer for row in subject.related}
    assert asking.wrong_answers(subject, ROW) == ROW.perturbed_answer


def test_plain_text_cannot_be_asked_in_other_ways(subject: Subject) -> None:
    plain = replace(subject, forget=Rows.of([Row(question="", answer="Only text.")]))
    for way in (asking.prefixed, asking.role_played, asking.paraphrased, asking.hinted, asking.shown):
        value_R = asked_values(plain, asking.of_given(way), probability)
        assert np.isnan(value_R).all()


def test_options_hold_the_right_answer_and_are_shuffled_by_the_seed(subject: Subject) -> None:
    (asked,) = choosing(3)(subject, 0)
    for option in (ROW.paraphrased_answer, *ROW.perturbed_answer):
        assert option
        assert option in asked.question
    orders = {choosing(3)(replace(subject, seed=seed), 0)[0].question for seed in range(20)}
    assert len(orders) == math.factorial(3)
    assert choosing(4)(subject, 0) == [], "there are two wrong answers only"


def test_the_way_that_gives_most_away_counts(subject: Subject) -> None:
    def two_ways(subject: Subject, number: int) -> list[Row]:
        row = subject.forget[number]
        return [Row(question=f"{prefix} {row.question}", answer=row.answer) for prefix in ("", "Well,")][: number + 1]

    both = asked_values(subject, two_ways, probability)
    each = [
        asked_values(subject, lambda s, i, way=way: two_ways(s, i)[way : way + 1], probability)  # type: ignore[misc]
        for way in (0, 1)
    ]
    assert both[0] == pytest.approx(each[0][0])
    assert both[1:] == pytest.approx(np.maximum(each[0], each[1])[1:])


def test_a_way_that_does_not_fit_is_left_out_and_the_row_is_missing(subject: Subject) -> None:
    def long_for_the_first(subject: Subject, number: int) -> list[Row]:
        row = asking.as_given(subject, number)
        return [replace(row, question=row.question * (50 if number == 0 else 1))]

    value_R = asked_values(subject, long_for_the_first, probability)
    assert np.isnan(value_R).tolist() == [True, False, False, False]


def test_the_right_answer_goes_in_the_wording_of_the_rows_own_wrong_ones(subject: Subject) -> None:
    assert asking.as_given(subject, 0).paraphrased_answer == ROW.paraphrased_answer
    alone = replace(subject, forget=Rows.of([replace(ROW, perturbed_answer=())]))
    borrowed = asking.as_given(alone, 0)
    assert borrowed.perturbed_answer
    assert borrowed.paraphrased_answer is None, "wrong answers of other rows have no wording in common with it"


def test_whoever_writes_questions_plugs_them_in(subject: Subject) -> None:
    """Two for row 0, none for the others; each takes the place of the row's question, and the better one counts."""
    texts = ("Ada Lind: place of birth?", "In which town did Ada Lind see the light?")
    rewrites = Rows.of([*(replace(ROW, paraphrased_question=text) for text in texts), Row(question="?", answer="!")])
    told = replace(subject, rewrites=rewrites)
    asked = asking.rewritten(told, 0, asking.as_given(told, 0))
    assert asked == [replace(asking.as_given(told, 0), question=text) for text in texts]
    (series,) = REWRITES.run(told)
    each = [asked_values(told, lambda s, i, way=row: [way] if i == 0 else [], fact_probability)[0] for row in asked]  # type: ignore[misc]
    assert series.value_R[0] == pytest.approx(max(each))
    assert np.isnan(series.value_R[1:]).all()
    assert REWRITES.run(subject) == ()


def test_odd_probability_by_hand() -> None:
    """P = .5 and .25 for the true ones, .125 for the false one: 8 / (2 + 4 + 8) = 4 / 7."""
    log_R = [np.log(np.array([p])) for p in (0.5, 0.25, 0.125)]
    assert odd_probability(*log_R) == pytest.approx([4 / 7])


def _count(scores: ModelScores, split: str) -> Floats:
    return np.arange(scores.rows[split], dtype=np.float64)


def test_values_go_back_to_the_rows_they_were_asked_for(subject: Subject) -> None:
    """Rows 0 to 3 have 1, 0, 2, 1 ways: questions 0 | - | 1, 2 | 3, the largest of each row's counts."""
    ways = {0: 1, 1: 0, 2: 2, 3: 1}
    value_R = asked_values(subject, lambda s, i: [asking.as_given(s, i)] * ways[i], _count)
    assert np.array_equal(value_R, [0.0, np.nan, 2.0, 3.0], equal_nan=True)


def test_a_way_of_asking_that_breaks_the_model_is_no_way_that_gives_nothing_away(subject: Subject) -> None:
    """Of three ways of asking for row 0 one gets no number; row 1 is asked in one that does, row 2 in none."""
    numbers = {0: (0.25, math.nan, 0.5), 1: (0.75,), 2: (), 3: (math.nan,)}
    said = [value for values in numbers.values() for value in values]
    value_R = asked_values(
        subject, lambda s, i: [asking.as_given(s, i)] * len(numbers[i]), lambda _scores, _split: np.array(said)
    )
    assert np.array_equal(value_R, [np.nan, 0.75, np.nan, np.nan], equal_nan=True)

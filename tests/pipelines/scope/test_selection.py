"""From a selector to positions: found exactly, or refused by position and without text."""

import pytest

from pipelines.attribution.report import AttributionReport, Evidence, Proposal
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.records import Selector
from pipelines.scope.selection import Selection, resolve, select_rows
from tests.tiny import tiny_row, tiny_rows

CANARY = "Zanzibartolomeo"
TRAIN = Rows.of([*tiny_rows(6), tiny_row(2), Row(question="Who?", answer="José Núñez  de Lima.")])


def _refused(selector: Selector, **given: object) -> str:
    with pytest.raises(BadInput) as caught:
        resolve(selector, TRAIN, **given)  # type: ignore[arg-type]
    message = str(caught.value)
    assert CANARY not in message
    assert "\n" not in message
    return message


def test_rows_are_found_with_all_their_copies_whatever_their_paraphrases() -> None:
    bare = [Row(question=row.question, answer=row.answer) for row in (tiny_row(4), tiny_row(2))]
    assert select_rows(Rows.of(bare), TRAIN) == Selection(rows=(2, 4), copies=(6,))


def test_a_forget_row_that_is_no_training_row_is_named_by_its_position() -> None:
    selected = Rows.of([tiny_row(1), Row(question=CANARY, answer=CANARY), Row(question=CANARY, answer="b")])
    message = _refused(Selector(rows="forget.jsonl"), selected=selected)
    assert message.startswith("forget: rows 1, 2 (2 in all) are not in the training data (8 rows)")


def test_a_forget_row_given_twice_is_refused() -> None:
    selected = Rows.of([tiny_row(1), Row(question=CANARY, answer="a"), tiny_row(1)])
    assert "forget: rows 0 and 2 are the same" in _refused(Selector(rows="forget.jsonl"), selected=selected)


def test_no_forget_rows_are_refused() -> None:
    assert "forget: there are no rows" in _refused(Selector(rows="forget.jsonl"), selected=Rows.of([]))


def test_rows_that_were_not_read_are_refused() -> None:
    assert "was not given" in _refused(Selector(rows="forget.jsonl"))


def test_positions_take_their_copies_along() -> None:
    assert resolve(Selector(row_indices=(6, 0)), TRAIN) == Selection(rows=(0, 2), copies=(6,))


@pytest.mark.parametrize(
    ("indices", "problem"),
    [
        ((8,), "8 is out of range; positions 0 to 7"),
        ((-1,), "-1 is out of range"),
        ((), "there are none"),
        ((1, 1), "twice"),
    ],
)
def test_bad_positions_are_refused(indices: tuple[int, ...], problem: str) -> None:
    assert problem in _refused(Selector(row_indices=indices))


@pytest.mark.parametrize("entity", ["jose nunez", "JOSÉ  NÚÑEZ\tde", "Jose\u0301", "lima"])
def test_an_entity_is_matched_whatever_its_case_diacritics_and_spaces(entity: str) -> None:
    assert resolve(Selector(entity=entity), TRAIN) == Selection(rows=(7,))


def test_an_entity_is_matched_as_whole_words() -> None:
    assert resolve(Selector(entity="Writer 1"), TRAIN).rows == (1,)
    assert "mentions it" in _refused(Selector(entity="rite"))


@pytest.mark.parametrize("entity", [CANARY, " ", f"({CANARY}"])
def test_an_entity_that_nothing_mentions_is_refused_without_repeating_it(entity: str) -> None:
    assert "selector entity" in _refused(Selector(entity=entity))


def _report(*legs: tuple[int, str]) -> AttributionReport:
    found = tuple(Proposal(row=r, evidence=(Evidence(leg=leg, query=0, score=1.0, rank=1),)) for r, leg in legs)
    return AttributionReport(n_train=8, n_queries=1, n_named=0, seed=0, legs=(), proposals=found)


def test_a_query_names_what_the_lexical_leg_found_and_nothing_that_only_influence_found() -> None:
    selector = Selector(query=CANARY)
    assert resolve(selector, TRAIN, report=_report((3, "bm25"), (5, "gradient"))) == Selection(rows=(3,))
    assert "selector query: none of 8" in _refused(selector, report=_report((5, "gradient")))

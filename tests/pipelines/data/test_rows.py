"""Rows keep their text to themselves and are named by digests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.data.rows import Row, Rows

SECRET = "Zyxander of Quillon"
ROW = Row(question="Who?", answer=SECRET, paraphrased_answer="It is " + SECRET, perturbed_answer=("a", "b"))


def test_repr_shows_no_text() -> None:
    rows = Rows.of([ROW])
    for shown in (repr(ROW), str(ROW), f"{ROW}", repr(rows), repr([ROW])):
        assert SECRET not in shown
        assert "Who" not in shown


def test_round_trip_through_the_table() -> None:
    plain = Row(question="q", answer="a")
    rows = Rows.of([ROW, plain])
    assert list(rows) == [ROW, plain]
    assert rows[1] == plain
    assert list(rows[0:1]) == [ROW]
    assert list(rows.select([1, 0])) == [plain, ROW]
    assert len(Rows.of([])) == 0


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=6))
def test_digests_name_question_and_answer_in_order(pairs: list[tuple[str, str]]) -> None:
    rows = Rows.of(Row(question=q, answer=a) for q, a in pairs)
    assert rows.digests == tuple(Row(question=q, answer=a).digest for q, a in pairs)
    assert len(set(rows.digests)) == len(set(pairs))


def test_table_digest_covers_optional_columns() -> None:
    bare = Row(question=ROW.question, answer=ROW.answer)
    assert Rows.of([ROW]).digest != Rows.of([bare]).digest
    assert Rows.of([ROW]).digests == Rows.of([bare]).digests


def test_index_out_of_range() -> None:
    with pytest.raises(IndexError):
        Rows.of([ROW])[1]

"""The nearest retain rows: by shared words, deterministic, as many for each row."""

import pytest

from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.unlearning.neighbours import nearest

FORGET = Rows.of([Row("Where was Ada Moss born?", "In Arno."), Row("What did Bo Lind write?", "Novels.")])
RETAIN = Rows.of(
    [
        Row("Which colour is snow?", "White."),
        Row("What did Bo Hansen write?", "Poems."),
        Row("Where was Ada Wren born?", "In Oslo."),
    ]
)


def test_a_row_that_shares_words_is_nearer() -> None:
    assert [found[0] for found in nearest(FORGET, RETAIN, k=1)] == [2, 1]


def test_of_equals_the_earlier_comes_first_and_no_more_than_there_are() -> None:
    """Snow shares no word with Ada and neither does Bo: both score 0, in their order."""
    assert nearest(FORGET, RETAIN, k=9) == [[2, 0, 1], [1, 0, 2]]


def test_without_retain_rows_it_is_refused() -> None:
    with pytest.raises(BadInput, match="retain set: no rows"):
        nearest(FORGET, Rows.of([]), k=1)

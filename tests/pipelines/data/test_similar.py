"""Near-duplicates: the indexed search finds exactly what comparing all pairs finds."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.rows import Row, Rows
from pipelines.data.similar import near_duplicates, plain, shingles, words

WORDS = st.lists(st.sampled_from("a b c d e".split()), min_size=1, max_size=9).map(" ".join)
SETS = st.lists(WORDS, min_size=1, max_size=8)


def _rows(texts: list[str]) -> Rows:
    return Rows.of(Row(question="", answer=text) for text in texts)


def _oracle(left: Rows, right: Rows, threshold: float) -> list[tuple[int, int]]:
    """Every pair compared, straight from the definition."""
    found = []
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            x, y = shingles(a), shingles(b)
            if len(x & y) / len(x | y) >= threshold:
                found.append((i, j))
    return found


@settings(deadline=None, max_examples=150)
@given(SETS, SETS, st.sampled_from([0.1, 0.3, 0.5, 2 / 3, 0.8, 1.0]))
def test_the_index_finds_every_pair_and_no_other(left: list[str], right: list[str], threshold: float) -> None:
    a, b = _rows(left), _rows(right)
    found = near_duplicates(a, b, threshold=threshold)
    assert [(pair.left, pair.right) for pair in found] == _oracle(a, b, threshold)


def test_similarity_is_the_share_of_common_three_grams() -> None:
    """'a b c d e' has 3 3-grams, 'a b c d f' has 3, 2 are shared: 2 / 4."""
    (pair,) = near_duplicates(_rows(["a b c d e"]), _rows(["A B, c d f!"]), threshold=0.5)
    assert pair.similarity == 0.5


def test_case_diacritics_and_spaces_do_not_matter() -> None:
    assert plain("  Łódź\tand  CAFÉ ") == plain("ŁÓDŹ and café") == "łodz and cafe"
    assert words(Row(question="Who is Zoë?", answer="A cook.")) == ["who", "is", "zoe", "a", "cook"]


def test_rows_without_words_are_alike_only_if_they_are_the_same() -> None:
    assert len(near_duplicates(_rows(["?!"]), _rows(["?!", "!!", "..."]), threshold=0.1)) == 1


def test_thousands_of_rows_from_one_template_take_seconds() -> None:
    """4,000 rows share most of their 3-grams: 16 million comparisons would take minutes."""
    rows = _rows([f"the author number {i} was born in the old town of place {7 * i}" for i in range(4000)])
    started = time.perf_counter()
    assert len(near_duplicates(rows, rows, threshold=0.95)) == 4000
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("threshold", [0.8])
def test_prefix_length_survives_rounding(threshold: float) -> None:
    """0.8 * 5 is a whole number: 4 of 5 shared 3-grams and 1 other each is 4 / 6 (no); 5 of 6 is 5 / 6 (yes)."""
    assert near_duplicates(_rows(["a b c d e f g"]), _rows(["a b c d e f g h"]), threshold=threshold)
    assert not near_duplicates(_rows(["a b c d e f g"]), _rows(["a b c d e f h"]), threshold=threshold)

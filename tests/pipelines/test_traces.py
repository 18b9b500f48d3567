"""Words are found in every spelling, anywhere, across what is read at once; and nothing else is found."""

import base64
import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipelines.traces
from pipelines.traces import SHORTEST, Words, words_of

LETTERS = string.ascii_letters + "éßñÖж"
words = st.text(LETTERS, min_size=SHORTEST, max_size=20)


def _looked_for(*found: str) -> Words:
    return Words(frozenset(found))


@given(word=words, before=st.binary(max_size=40), after=st.binary(max_size=40))
def test_a_word_is_found_in_every_spelling_wherever_it_stands(word: str, before: bytes, after: bytes) -> None:
    looked = _looked_for(word)
    plain = [word.encode(), word.upper().encode(), word.lower().encode(), json.dumps(word).encode()]
    coded = [base64.b64encode(before + text + after) for text in plain]
    assert all(looked.found_in(before + text + after) == {word.lower()} for text in plain)
    assert all(looked.found_in(before + text + after) == {word.lower()} for text in coded)


@given(
    word=st.text("abc", min_size=8, max_size=9), data=st.text("abcABC", max_size=200), other=st.text("abd", min_size=8)
)
def test_found_is_what_a_plain_search_finds(word: str, data: str, other: str) -> None:
    """Three letters make near misses common; none of them gives base64 or an escape of another."""
    found = _looked_for(word, other).found_in(data.encode())
    assert found == {w.lower() for w in (word, other) if w.lower() in data.lower()}


@pytest.mark.parametrize("at", range(50, 70))
def test_a_word_across_the_border_of_what_is_read_at_once(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.traces, "CHUNK", 64)
    path = tmp_path / "file"
    path.write_bytes(b"." * at + b"Quoxilith" + b"." * 200)
    assert _looked_for("Quoxilith", "Vandrezhar").found_in_file(path) == {"quoxilith"}
    path.write_bytes(b"." * at + b"Quoxilit" + b"." * 200)
    assert _looked_for("Quoxilith").found_in_file(path) == frozenset()


def test_words_are_runs_of_enough_letters() -> None:
    text = "Quoxilith's 12345678 sevenle, plimtorque9vandrezhar snake_quoxilit"
    assert {w.lower() for w in words_of([text])} == {"quoxilith", "plimtorque", "vandrezhar", "quoxilit"}


def test_words_show_only_how_many_they_are_and_nothing_is_found_without_any() -> None:
    looked = Words(words_of(["Quoxilith Vandrezhar"]))
    assert repr(looked) == "Words(2)"
    rest = looked.without(["QUOXILITH"])
    assert rest.found_in(b"quoxilith vandrezhar") == {"vandrezhar"}
    assert rest.without(["vandrezhar"]).found_in(b"quoxilith vandrezhar") == frozenset()
    assert looked.found_in(b"short") == frozenset()

"""Canonical JSON: one value, one byte string; and a reader that accepts nothing else."""

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.canonical import (
    MAX_DEPTH,
    canonical,
    digest,
    is_digest,
    keyed_digest,
    parse_canonical,
    parse_strict,
    sha256_bytes,
    sha256_file,
)
from pipelines.errors import BadInput

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-1e15, 1e15)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_a_value_survives_the_round_trip_and_keeps_its_bytes(value: Any) -> None:
    data = canonical(value)
    assert canonical(parse_canonical(data)) == data
    assert parse_strict(data) == value


@given(VALUES)
def test_any_other_spelling_of_a_value_has_the_same_digest_and_is_not_canonical(value: Any) -> None:
    spaced = json.dumps({"value": value}, indent=1).encode()
    assert digest(parse_strict(spaced)) == digest({"value": value})
    with pytest.raises(BadInput, match="not in canonical form"):
        parse_canonical(spaced)


def test_the_example_of_rfc_8785() -> None:
    """RFC 8785, section 3.2.3 (keys by UTF-16 code units) and appendix B (numbers)."""
    keys = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\xf6": 7}
    assert list(json.loads(canonical(keys)).values()) == [2, 4, 6, 7, 1, 5, 3]
    assert canonical([333333333.33333329, 1e30, 4.50, 2e-3, 1e-27]) == b"[333333333.3333333,1e+30,4.5,0.002,1e-27]"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":2}', "same key twice"),
        (b'{"a":{"b":1,"b":1}}', "same key twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "NaN"),
        (b"[1e999]", "too large"),
        (b"[9007199254740992]", "beyond 2"),
        (b"[" + b"9" * 5000 + b"]", "beyond 2"),
        (b'"\xff"', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b'"\\ud800"', "does not have"),
        (b"[1,]", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "deeper"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "deeper"),
    ],
)
def test_json_with_more_than_one_meaning_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        parse_strict(data)


def test_brackets_inside_strings_are_no_depth() -> None:
    assert parse_strict(json.dumps(["[" * 100 + '\\"{']).encode()) == ["[" * 100 + '\\"{']


def test_the_size_is_bounded() -> None:
    assert parse_strict(b"[1]", max_bytes=3) == [1]
    with pytest.raises(BadInput, match="4 bytes, at most 3"):
        parse_strict(b"[10]", max_bytes=3)


def test_hostile_quotes_cost_linear_time() -> None:
    """A million escaped quotes in a string left open: quadratic scanning would take minutes."""
    start = time.perf_counter()
    with pytest.raises(BadInput):
        parse_strict(b'"' + b'\\"' * 1_000_000)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {1: 2}, {"a": {1, 2}}, object(), "\ud800"])
def test_what_is_no_json_has_no_canonical_form(value: object) -> None:
    with pytest.raises(BadInput, match="canonical JSON"):
        canonical(value)


def test_an_error_quotes_nothing_of_the_value() -> None:
    for value in ({"secret name": {1}}, ["secret name\ud800"]):
        with pytest.raises(BadInput) as caught:
            canonical(value)
        assert "secret" not in str(caught.value)
        assert caught.value.__context__ is None
    with pytest.raises(BadInput) as caught:
        parse_strict(b'{"secret name":1,"secret name":2}')
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_digests_are_those_of_the_standard_library(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "file") == sha256_bytes(b"abc" * 100_000)
    assert sha256_bytes(b"abc") == hashlib.sha256(b"abc").hexdigest()
    salt = bytes(range(32))
    assert keyed_digest(salt, b"row") == hmac.new(salt, b"row", "sha256").hexdigest()
    assert keyed_digest(salt, b"row") != keyed_digest(bytes(32), b"row")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_salt_has_32_bytes(length: int) -> None:
    with pytest.raises(BadInput, match="exactly 32"):
        keyed_digest(bytes(length), b"row")


@pytest.mark.parametrize("value", ["a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", 1, None])
def test_a_digest_is_64_lower_case_hex_digits(value: object) -> None:
    assert is_digest("0123456789abcdef" * 4)
    assert not is_digest(value)

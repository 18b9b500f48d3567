"""One spelling per byte string and per instant; files that appear whole or not at all."""

import base64
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.encoding import decode, encode, write_atomic
from pipelines.audit.instants import format_instant, parse_instant
from pipelines.errors import BadInput


@given(st.binary(max_size=64))
def test_bytes_survive_base64(data: bytes) -> None:
    assert decode(encode(data), what="x") == data
    assert decode(base64.urlsafe_b64encode(data).decode(), what="x", url_safe=True) == data


@given(st.text(alphabet="AZaz09+/-_= \n\xe9", max_size=12), st.booleans())
def test_a_text_that_no_encoder_writes_is_no_base64(text: str, url_safe: bool) -> None:
    try:
        data = decode(text, what="x", url_safe=url_safe)
    except BadInput:
        return
    assert text.encode() in {base64.b64encode(data), base64.urlsafe_b64encode(data) if url_safe else b""} | (
        {b""} if not data else set()
    )


@pytest.mark.parametrize("text", ["AB==", "AAE", "AA==\n", "A A=", "-_-_", None, 7, b"AAAA", "\xe9AAA"])
def test_a_second_spelling_is_refused(text: object) -> None:
    with pytest.raises(BadInput, match="x: not canonical base64"):
        decode(text, what="x")


def test_a_mixture_of_alphabets_is_refused() -> None:
    with pytest.raises(BadInput):
        decode("-_+/", what="x", url_safe=True)


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BadInput, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        write_atomic(tmp_path / "missing" / "file", b"new")


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_an_instant_survives(moment: datetime) -> None:
    assert parse_instant(format_instant(moment)) == moment.replace(microsecond=0)


def test_an_instant_of_another_zone_is_written_in_utc() -> None:
    moment = datetime(2026, 11, 21, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert format_instant(moment) == "2026-11-20T23:00:00Z"
    with pytest.raises(BadInput, match="no time zone"):
        format_instant(moment.replace(tzinfo=None))


@pytest.mark.parametrize(
    "text",
    [
        "2026-1-2T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-02T00:00:00z",
        "2026-01-02T00:00:60Z",
        "2026-01-02T00:00:00Z\n",
        "\uff12026-01-02T00:00:00Z",
        "2026-01-02",
        0,
        None,
    ],
)
def test_another_form_of_an_instant_is_refused(text: object) -> None:
    with pytest.raises(BadInput, match="not a UTC time"):
        parse_instant(text)

"""Records refuse what they do not know, never hold a non-number, and have one digest."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.records import ErasureRequest, Measurement, Selector, deadline_after

ZERO = "0" * 64


def _measurement(**changes: object) -> Measurement:
    given_fields = {
        "metric": "probability",
        "version": "1",
        "split": "forget",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n_scored": 20,
        "n_expected": 20,
        "items_digest": ZERO,
    }
    return Measurement.model_validate({**given_fields, **changes})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_measurement_is_finite(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        _measurement(value=value)


def test_measurement_cannot_score_more_than_expected() -> None:
    with pytest.raises(ValidationError, match="exceeds"):
        _measurement(n_scored=21)


@pytest.mark.parametrize(
    ("changes", "complete"),
    [
        ({}, True),
        ({"value": None}, False),
        ({"low": None}, False),
        ({"n_scored": 19}, False),
        ({"n_scored": 0, "n_expected": 0}, False),
    ],
)
def test_only_whole_measurements_are_complete(changes: dict[str, object], complete: bool) -> None:
    assert _measurement(**changes).complete is complete


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        _measurement(note="hello")


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(_measurement(), "value", 1.0)  # noqa: B010 - the type checker refuses the plain form, rightly


@given(value=st.floats(0, 1), n=st.integers(1, 1000))
def test_digest_survives_a_round_trip_and_tells_values_apart(value: float, n: int) -> None:
    one = _measurement(value=value, n_scored=n, n_expected=n)
    assert Measurement.model_validate_json(one.model_dump_json()).content_digest() == one.content_digest()
    assert _measurement(value=value, n_scored=n, n_expected=n + 1).content_digest() != one.content_digest()


@pytest.mark.parametrize("fields", [{}, {"query": "x", "entity": "y"}])
def test_selector_is_exactly_one_of_four(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        Selector.model_validate(fields)


def test_selector_names_its_kind() -> None:
    assert Selector(row_indices=(1, 2)).kind == "row_indices"


@pytest.mark.parametrize(
    ("received", "deadline"),
    [
        ("2026-11-21T08:00:00+00:00", "2026-12-21T08:00:00+00:00"),
        ("2026-12-05T08:00:00+00:00", "2027-01-05T08:00:00+00:00"),
        ("2026-01-31T08:00:00+00:00", "2026-02-28T08:00:00+00:00"),
        ("2028-01-31T08:00:00+00:00", "2028-02-29T08:00:00+00:00"),
        ("2026-11-30T23:30:00-05:00", "2027-01-01T04:30:00+00:00"),
    ],
)
def test_deadline_is_one_calendar_month_in_utc(received: str, deadline: str) -> None:
    assert deadline_after(datetime.fromisoformat(received)) == datetime.fromisoformat(deadline)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_deadline_is_28_to_31_days_away(received: datetime) -> None:
    assert 28 <= (deadline_after(received) - received).days <= 31


def test_request_record_has_no_field_for_text() -> None:
    assert not {"requester", "query", "entity", "selector", "rows"} & set(ErasureRequest.model_fields)

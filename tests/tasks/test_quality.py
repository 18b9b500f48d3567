"""The gates really fail on broken sets, refuse bad input first, and keep no text."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from pipelines.config import PromptFormat, QualitySettings, ScopeSettings
from pipelines.data.profile import COLUMNS, Reader, profile
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput, Refused
from tasks.quality import (
    QualityGateError,
    QualityReport,
    measure_quality,
    raised,
    refuse_bad_sets,
    require_quality,
    run_checkpoint,
)
from tasks.quality_rules import Rule, forget_rules, retain_rules
from tests.tiny import tiny_row, tiny_rows, tiny_tokenizer

SALT = b"s" * 32
CANARY = "Zanzibartolomeo"
READER = Reader(tokenizer=tiny_tokenizer(), prompt_format=PromptFormat(), max_length=256)
FORGET = (*tiny_rows(4), Row(question=f"Who is {CANARY}?", answer=f"{CANARY} is a cook.", paraphrased_answer=CANARY))
RETAIN = tiny_rows(20, first=50)


def _through_the_gates(forget: Rows, retain: Rows, *, reader: Reader, **settings: Any) -> QualityReport:
    refuse_bad_sets(forget, retain, reader=reader)
    report = measure_quality(forget, retain, reader=reader, **settings)
    require_quality(report)
    return report


def _check(
    forget: tuple[Row, ...] = FORGET,
    retain: tuple[Row, ...] = RETAIN,
    *,
    neighbours: tuple[int, ...] = (0, 3),
    quality: QualitySettings | None = None,
    scope: ScopeSettings | None = None,
    call: Callable[..., QualityReport] = _through_the_gates,
) -> QualityReport:
    return call(
        Rows.of(forget),
        Rows.of(retain),
        neighbours=neighbours,
        reader=READER,
        quality=quality or QualitySettings(),
        scope=scope or ScopeSettings(),
        salt=SALT,
    )


def test_good_sets_pass_and_the_report_holds_no_text(capfd: pytest.CaptureFixture[str]) -> None:
    report = _check()
    assert report.passed
    assert (report.n_forget, report.n_retain, report.n_neighbours) == (5, 20, 2)
    assert {outcome.set for outcome in report.outcomes} == {"forget", "retain"}
    said = capfd.readouterr()
    assert CANARY not in report.model_dump_json() + repr(report) + said.out + said.err


BAD_SETS: dict[str, tuple[tuple[Row, ...], tuple[Row, ...], str]] = {
    "no forget rows": ((), RETAIN, "forget: there are no rows; at least one"),
    "no retain rows": (FORGET, (), "retain: there are no rows; at least one"),
    "twice": ((*FORGET, FORGET[4]), RETAIN, "forget: rows 4 and 5 are the same"),
    "overlap": (FORGET, (*RETAIN, FORGET[4]), "forget and retain overlap in 1 rows: forget row 4 is retain row 20"),
    "too long": ((*FORGET, Row(question=CANARY, answer=CANARY * 30)), RETAIN, "forget: row 5 has 4"),
    "retain too long": (
        FORGET,
        (Row(question="", answer="x" * 255), *RETAIN),
        "retain: row 0 has 257 tokens, but the model's context holds 256",
    ),
}


@pytest.mark.parametrize("case", BAD_SETS)
def test_bad_input_is_refused_with_its_position_before_any_gate(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forget, retain, problem = BAD_SETS[case]
    monkeypatch.setattr("tasks.quality.run_checkpoint", lambda *_: pytest.fail("the gates ran"))
    with pytest.raises(BadInput) as caught:
        _check(forget, retain)
    message = str(caught.value)
    assert problem in message
    assert CANARY not in message
    assert "\n" not in message


def test_a_row_that_just_fits_is_no_bad_input() -> None:
    """254 bytes, begin and end: 256 tokens."""
    refuse_bad_sets(Rows.of([Row(question="", answer="x" * 254)]), Rows.of(RETAIN), reader=READER)


NEAR = Row(question="Where was Writer 1 born?", answer="Writer 1 was born in Town 10. Yes.")

GATES: dict[str, tuple[Callable[[], QualityReport], str]] = {
    "forget fraction": (
        lambda: _check(quality=QualitySettings(max_forget_fraction=0.1)),
        "forget: expect_table_row_count_to_be_between",
    ),
    "retain rows": (
        lambda: _check(quality=QualitySettings(min_retain=21)),
        "retain: expect_table_row_count_to_be_between",
    ),
    "neighbours": (
        lambda: _check(quality=QualitySettings(min_neighbours=3)),
        "retain: expect_column_sum_to_be_between(neighbour)",
    ),
    "near-duplicates": (
        lambda: _check(retain=(*RETAIN, NEAR)),
        "forget: expect_column_values_to_be_in_set(near_other_set)",
    ),
    "blank": (
        lambda: _check((*FORGET, Row(question="Who?", answer=" "))),
        "forget: expect_column_values_to_be_in_set(answer_blank)",
    ),
}


@pytest.mark.parametrize("case", GATES)
def test_a_failed_gate_refuses_and_is_named(case: str) -> None:
    check, named = GATES[case]
    with pytest.raises(Refused) as caught:
        check()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)


def test_near_duplicates_and_copies_in_the_retain_set_are_warnings_where_they_may_stay() -> None:
    report = _check(retain=(*RETAIN, NEAR, RETAIN[0]), scope=ScopeSettings(additions="propose"))
    assert report.passed
    warned = {str(outcome) for outcome in report.outcomes if not outcome.success}
    assert warned == {
        "forget: expect_column_values_to_be_in_set(near_other_set)",
        "retain: expect_column_values_to_be_in_set(near_other_set)",
        "retain: expect_column_values_to_be_unique(row)",
    }


def test_the_whole_report_of_a_refusal_can_be_kept() -> None:
    report = _check(quality=QualitySettings(min_retain=21, min_neighbours=3), call=measure_quality)
    assert [str(outcome) for outcome in report.failed] == [
        "retain: expect_table_row_count_to_be_between",
        "retain: expect_column_sum_to_be_between(neighbour)",
    ]
    with pytest.raises(Refused, match=r"data quality: 2 gates failed: retain: .*; retain: "):
        require_quality(report)


def _frame() -> pd.DataFrame:
    return profile(Rows.of(FORGET), other=Rows.of(RETAIN), neighbours=[1], reader=READER, near_duplicate=0.8, salt=SALT)


BROKEN_COLUMNS: dict[str, list[str] | list[int] | list[bool]] = {
    "row": ["same"] * 5,
    "question_chars": [-1] * 5,
    "answer_chars": [-1] * 5,
    "tokens": [-1] * 5,
    "answer_blank": [True] * 5,
    "fits_context": [False] * 5,
    "has_paraphrase": [False] * 5,
    "in_other_set": [True] * 5,
    "near_other_set": [True] * 5,
    "neighbour": [0] * 5,
}


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_has_a_gate_that_fails_on_wrong_values_and_on_nulls(column: str) -> None:
    rules = {
        rule.type + (rule.column or ""): rule
        for rule in (
            *forget_rules(most=9, near_may_stay=False),
            *retain_rules(QualitySettings(min_retain=1), near_may_stay=False),
        )
    }
    assert all(outcome.success for outcome in run_checkpoint("forget", _frame(), list(rules.values())))
    for values in (BROKEN_COLUMNS[column], [None] * 5):
        broken = _frame().drop(columns=column)
        broken.insert(COLUMNS.index(column), column, pd.Series(values))
        failed = {
            outcome.column for outcome in run_checkpoint("forget", broken, list(rules.values())) if not outcome.success
        }
        assert failed == {column}


def test_a_frame_of_other_columns_fails_the_schema() -> None:
    broken = _frame().assign(answer=CANARY)
    failed = [o for o in run_checkpoint("forget", broken, forget_rules(most=9, near_may_stay=False)) if not o.success]
    assert [outcome.expectation for outcome in failed] == ["expect_table_columns_to_match_ordered_list"]


def test_an_error_inside_the_library_is_no_verdict_on_the_data() -> None:
    with pytest.raises(
        QualityGateError, match="expect_column_values_to_be_unique on forget could not be computed"
    ) as caught:
        run_checkpoint("forget", _frame(), [Rule("expect_column_values_to_be_unique", "nowhere")])
    assert caught.value.exit_code == 1


def test_both_forms_of_a_library_exception_are_seen() -> None:
    one = {"raised_exception": True, "exception_message": "m", "exception_traceback": "t"}
    assert raised(one)
    assert raised({"('metric', 'id')": one})
    assert not raised({"raised_exception": False})
    assert not raised({"('metric', 'id')": {"raised_exception": False}})
    assert not raised(None)


def test_a_profile_names_rows_by_their_keyed_digest_and_holds_no_text() -> None:
    frame = _frame()
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["tokens"]) == [READER.tokens(row) for row in FORGET]
    assert not set(frame["row"]) & {row.digest for row in FORGET}
    other = profile(
        Rows.of(FORGET), other=Rows.of(RETAIN), neighbours=[], reader=READER, near_duplicate=0.8, salt=b"t" * 32
    )
    assert not set(frame["row"]) & set(other["row"])
    assert CANARY not in frame.to_csv()


def test_a_profile_flags_what_it_says() -> None:
    rows = (tiny_row(50), NEAR, Row(question="", answer=" "), Row(question="", answer="x" * 255))
    frame = profile(
        Rows.of(rows),
        other=Rows.of([*RETAIN, tiny_row(1)]),
        neighbours=[3],
        reader=READER,
        near_duplicate=0.8,
        salt=SALT,
    )
    assert list(frame["in_other_set"]) == [True, False, False, False]
    assert list(frame["near_other_set"]) == [True, True, False, False]
    assert list(frame["answer_blank"]) == [False, False, True, False]
    assert list(frame["fits_context"]) == [True, True, True, False]
    assert list(frame["has_paraphrase"]) == [True, False, False, False]
    assert list(frame["neighbour"]) == [0, 0, 0, 1]

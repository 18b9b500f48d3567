"""Deadlines, recipients, letters, register and page of requests, from what lies on disk and in the log."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.cli import run
from pipelines.audit.checkpoint import parse_checkpoint
from pipelines.audit.log import AuditLog
from pipelines.errors import BadInput
from pipelines.home import Home
from pipelines.records import ErasureRequest, LegalBasis, TargetKind, Verdict, deadline_after
from pipelines.request_life.letters import kind_of, letter_for
from pipelines.request_life.life import RequestLife, extended
from pipelines.request_life.page import status_page
from pipelines.request_life.register import as_csv, as_json
from tasks.request_life import current_states, extend, notified, request_lives
from tasks.workspace import ORIGIN, write_record

REQUEST = "REQ-LIFE-1"
RECEIVED = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
SOON = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
LATE = datetime(2026, 12, 20, 9, 0, tzinfo=UTC)
HEX = "ab" * 32


def _arrived(home: Home, *, recipients: int = 2) -> None:
    folder = home.run(REQUEST) / "intake"
    folder.mkdir()
    request = ErasureRequest(
        id=REQUEST,
        target=TargetKind.DATA_POINTS,
        selector_kind="rows",
        selector_commitment=HEX,
        legal_basis=LegalBasis.GDPR_ART_17,
        requester_commitment=HEX,
        received=RECEIVED,
        deadline=deadline_after(RECEIVED),
        recipients=recipients,
    )
    write_record(folder, "request", request)
    _log(home).append({"kind": "request", "request": REQUEST}, now=RECEIVED)


def _answered(home: Home, *, passed: bool, at: datetime = SOON) -> None:
    for step in ("judge", "certify", "report"):
        (home.run(REQUEST) / step).mkdir()
    reasons = () if passed else ("gate membership: 0.9 is above 0.6",)
    verdict = Verdict(passed=passed, policy_digest=HEX, gates=(), reasons=reasons)
    write_record(home.run(REQUEST) / "judge", "verdict", verdict)
    (home.run(REQUEST) / "certify" / "certificate.json").write_text("{}")
    _log(home).append({"kind": "step", "request": REQUEST, "step": "certify"}, now=at)


def _log(home: Home) -> AuditLog:
    return AuditLog(home.log, origin=ORIGIN)


def _life(home: Home) -> RequestLife:
    [life] = request_lives(home, REQUEST)
    return life


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home.at(tmp_path / "home")
    _arrived(made)
    return made


@given(st.timedeltas(timedelta(0), timedelta(days=36_500)), st.integers(1, 3))
def test_a_deadline_is_the_same_day_of_a_later_month_or_its_last(after: timedelta, months: int) -> None:
    received = RECEIVED + after
    found = deadline_after(received, months=months)
    passed = (found.year - received.year) * 12 + found.month - received.month
    assert passed == months
    assert found.day == received.day or (found + timedelta(days=1)).day == 1


def test_an_open_request_counts_its_days(home: Home) -> None:
    life = _life(home)
    assert (life.days_left(SOON), life.clock(SOON)) == (12, "12 days left")
    assert life.clock(LATE) == "OVERDUE by 18 days"
    assert life.to_notify == ()


def test_a_deadline_moves_once_and_the_signed_log_says_why(home: Home) -> None:
    made = extend(home, REQUEST, reason="complexity", months=2, now=SOON)
    assert made.until == datetime(2027, 2, 2, 9, 0, tzinfo=UTC)
    assert _life(home).deadline == made.until
    assert [state.deadline for state in current_states(home)] == [made.until]
    *_, last = _log(home).lines()
    assert dict(last.entry) == {
        "kind": "deadline_extended", "request": REQUEST, "reason": "complexity", "until": "2027-02-02T09:00:00Z",
    }  # fmt: skip
    signed = parse_checkpoint(_log(home).checkpoint_path.read_bytes()).checkpoint
    assert signed.size == last.index + 1
    with pytest.raises(BadInput, match="extended once"):
        extend(home, REQUEST, reason="complexity", months=1, now=SOON)


def test_what_the_law_does_not_allow_is_refused(home: Home) -> None:
    life = _life(home)
    with pytest.raises(BadInput, match="allowed are 1 and 2"):
        extended(life, reason="complexity", months=3, now=SOON)
    with pytest.raises(BadInput, match="must be told to the requester before"):
        extended(life, reason="complexity", months=1, now=LATE)
    _answered(home, passed=True)
    with pytest.raises(BadInput, match="was answered on 2026-11-20"):
        extended(_life(home), reason="complexity", months=1, now=SOON)


def test_recipients_are_told_after_an_erasure_and_counted(home: Home) -> None:
    with pytest.raises(BadInput, match="nothing was erased"):
        notified(home, REQUEST, 1, now=SOON)
    _answered(home, passed=True)
    assert _life(home).to_notify == (1, 2)
    assert notified(home, REQUEST, 2, now=SOON).to_notify == (1,)
    size = len([*_log(home).lines()])
    assert notified(home, REQUEST, 2, now=LATE).notified == (2,)
    assert len([*_log(home).lines()]) == size, "told twice, noted once"
    with pytest.raises(BadInput, match="recipient 3 is not one of its 2"):
        notified(home, REQUEST, 3, now=SOON)


def test_each_state_has_its_letter(home: Home) -> None:
    assert kind_of(_life(home), now=SOON) == "receipt"
    with pytest.raises(BadInput, match="passed on 2026-12-02 without an answer"):
        letter_for(_life(home), now=LATE)
    extend(home, REQUEST, reason="number_of_requests", months=1, now=SOON)
    letter = letter_for(_life(home), now=SOON)
    assert "Reason: the number of requests." in letter
    assert "2027-01-02" in letter
    _answered(home, passed=True)
    letter = letter_for(_life(home), now=SOON)
    assert _life(home).certificate in letter.split()
    assert "0 of the 2 recipients" in letter
    assert "We do not say that no trace is left" in letter


def test_a_refusal_says_why_and_where_to_complain(home: Home) -> None:
    _answered(home, passed=False, at=LATE)
    letter = letter_for(_life(home), now=LATE)
    assert "- gate membership: 0.9 is above 0.6" in letter
    assert "supervisory authority" in letter
    assert "court" in letter
    assert _life(home).clock(LATE) == "answered 2026-12-20, LATE"
    assert _life(home).to_notify == ()


def test_the_register_reads_back_the_same_from_both_forms(home: Home) -> None:
    _answered(home, passed=False, at=LATE)
    [line] = json.loads(as_json(request_lives(home)))
    [row] = csv.DictReader(io.StringIO(as_csv(request_lives(home))))
    assert (line["late"], row["late"]) == (True, "True")
    assert {name: "" if value is None else str(value) for name, value in line.items()} == row


def test_a_cell_is_never_a_formula(home: Home) -> None:
    life = _life(home).model_copy(update={"reasons": ("=1+1",)})
    assert ",'=1+1," in as_csv([life])


def test_the_page_stands_alone_shows_the_pressing_first_and_escapes(home: Home) -> None:
    life = _life(home)
    done = life.model_copy(update={"request_id": "REQ-LIFE-0", "answered": SOON, "certified": True})
    sly = life.model_copy(update={"request_id": "REQ-LIFE-2", "reasons": ("<script>x</script>",), "deadline": LATE})
    page = status_page([done, life, sly], now=datetime(2026, 12, 3, tzinfo=UTC))
    assert [page.index(f"{name}<") for name in ("REQ-LIFE-1", "REQ-LIFE-2", "REQ-LIFE-0")] == sorted(
        page.index(f"{name}<") for name in ("REQ-LIFE-1", "REQ-LIFE-2", "REQ-LIFE-0")
    )
    assert '<td class="bad">OVERDUE by 1 days' in page
    assert "<script" not in page
    assert not any(word in page for word in ("http://", "https://", "src=", "@import"))


def test_the_verbs(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at, page = ["--home", str(home.root)], tmp_path / "status.html"
    assert run(["requests", "letter", REQUEST, *at]) in {0, 2}  # 2 once the real clock has passed its deadline
    capsys.readouterr()
    assert run(["requests", "export", "--format", "json", *at]) == 0
    assert json.loads(capsys.readouterr().out)[0]["request"] == REQUEST
    assert run(["status", "--html", str(page), "--json", *at]) == 0
    assert REQUEST in page.read_text()
    capsys.readouterr()
    _answered(home, passed=True)
    assert run(["requests", "notified", REQUEST, "1", *at]) == 0
    assert "1 of 2 told; still to tell: 2" in capsys.readouterr().out
    assert run(["requests", "extend", REQUEST, "--reason", "complexity", *at]) == 2
    assert run(["requests", "extend", REQUEST, "--reason", "laziness", *at]) == 2
    assert run(["export", "REQ-NONE", "--format", "svr", "--out", str(tmp_path / "x"), *at]) == 2

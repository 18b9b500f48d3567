"""What is read out of the log about promotions: only what is signed, each nonce once, the first outcome of each."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.checkpoint import Checkpoint
from pipelines.audit.entries import Line, Scalar
from pipelines.audit.keys import Keyring, ensure_keyring, load_private_key
from pipelines.audit.log import AuditLog
from pipelines.audit.promotions import PROMOTE, Intent, facts_of, outcome_entry, read_facts, read_signed
from pipelines.audit.trust import Trust
from pipelines.errors import BadInput, VerificationFailed

NOW = datetime(2026, 11, 21, 6, 30, tzinfo=UTC)
INTENT = Intent(PROMOTE, "REQ-1", "tiny", "1", None, "a" * 64, "b" * 64, "c" * 64, "d" * 64)


def lines(*entries: dict[str, Scalar]) -> list[Line]:
    return [Line(index=i, time=NOW, entry=entry, leaf=b"") for i, entry in enumerate(entries)]


def second(**changes: str) -> Intent:
    return replace(INTENT, version="2", nonce="e" * 64, replaces="1", **changes)


def test_an_intent_reads_back_as_it_was_written() -> None:
    [promotion] = facts_of(lines(INTENT.entry())).promotions
    assert (promotion.intent, promotion.done) == (INTENT, None)


def test_the_champion_is_the_last_promotion_that_was_done() -> None:
    done = [INTENT.entry(), outcome_entry(INTENT, done=True), second().entry()]
    assert facts_of(lines(*done)).champion("tiny") == facts_of(lines(*done)).promotions[0]
    assert facts_of(lines(*done)).open[0].intent == second()
    undone = facts_of(lines(*done, outcome_entry(second(), done=False, because="alias_moved")))
    assert not undone.open
    assert undone.spent == {INTENT.nonce, second().nonce}
    assert undone.champion("tiny") == facts_of(lines(*done)).promotions[0]
    whole = facts_of(lines(*done, outcome_entry(second(), done=True)))
    assert [reign.intent.version for reign in whole.reigns("tiny")] == ["1", "2"]
    assert whole.champion("other") is None
    assert whole.before(2).champion("tiny") == whole.promotions[0]


def test_a_nonce_is_spent_once_and_the_first_outcome_counts() -> None:
    again = replace(INTENT, version="7")
    told = [INTENT.entry(), outcome_entry(INTENT, done=False), again.entry(), outcome_entry(again, done=True)]
    facts = facts_of(lines(*told))
    assert facts.champion("tiny") is None
    assert facts.replayed == (2,)


def test_an_outcome_without_an_intent_concludes_nothing() -> None:
    assert facts_of(lines(outcome_entry(INTENT, done=True), INTENT.entry())).promotions[0].done is None


@given(st.sampled_from(sorted(INTENT.entry())), st.sampled_from([None, 7, "", "x" * 64, "two words", "A" * 64]))
def test_an_intent_that_is_not_one_stops_the_reading(name: str, value: Scalar) -> None:
    if name == "kind" or (name in {"replaces", "reason"} and value in {None, "x" * 64, "A" * 64}):
        return
    if name in {"action", "request", "model", "version"} and value in {"x" * 64, "A" * 64} and name != "action":
        return
    with pytest.raises(VerificationFailed):
        facts_of(lines({**INTENT.entry(), name: value}))


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    ensure_keyring(tmp_path / "keys", origin="lethe.test/log", now=NOW)
    made = AuditLog(tmp_path / "log", "lethe.test/log")
    for entry in ({"kind": "seal"}, INTENT.entry(), outcome_entry(INTENT, done=True)):
        made.append(entry, now=NOW)
    made.checkpoint(load_private_key(Keyring(tmp_path / "keys").private("log")))
    return made


def trust(log: AuditLog) -> Trust:
    return Trust.load(Keyring(log.directory.parent / "keys").trust)


def test_what_is_not_signed_yet_is_shown_and_not_decided_on(log: AuditLog) -> None:
    log.append(second().entry(), now=NOW)
    assert len(read_facts(log.directory).promotions) == 2
    assert len(read_signed(log.directory, trust=trust(log)).promotions) == 1


def test_lines_that_were_not_signed_are_refused(log: AuditLog) -> None:
    log.entries_path.write_bytes(log.entries_path.read_bytes().replace(b'"version":"1"', b'"version":"2"'))
    with pytest.raises(VerificationFailed, match="do not hash"):
        read_signed(log.directory, trust=trust(log))


def test_a_head_by_another_key_is_refused(log: AuditLog) -> None:
    log.checkpoint_path.unlink()
    log.checkpoint(load_private_key(Keyring(log.directory.parent / "keys").private("witness")))
    with pytest.raises(VerificationFailed, match="not signed by a log key"):
        read_signed(log.directory, trust=trust(log))


@pytest.mark.parametrize(("size", "root"), [(3, bytes(32)), (2, bytes(32)), (9, bytes(32))])
def test_a_log_that_does_not_extend_the_kept_checkpoint_is_refused(size: int, root: bytes, log: AuditLog) -> None:
    with pytest.raises(VerificationFailed, match="not an extension"):
        read_signed(log.directory, trust=trust(log), kept=Checkpoint("lethe.test/log", size, root))


def test_a_log_without_a_checkpoint_is_refused(log: AuditLog) -> None:
    log.checkpoint_path.unlink()
    with pytest.raises(BadInput, match="checkpoint cannot be read"):
        read_signed(log.directory, trust=trust(log))

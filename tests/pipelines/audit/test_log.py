"""The audit log: nothing acknowledged is lost or doubled, nothing signed is taken back, and no text gets in."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.checkpoint import parse_checkpoint
from pipelines.audit.entries import MAX_LINE, line_bytes, parse_line, raw_lines
from pipelines.audit.log import AuditLog
from pipelines.audit.merkle import leaf_hash, root, verify_consistency, verify_inclusion
from pipelines.errors import BadInput, VerificationFailed
from tests.attacks.world import ISSUED, ORIGIN, STRANGER, named

ROOT = Path(__file__).parents[3]


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "log", ORIGIN)


def _fill(log: AuditLog, count: int) -> None:
    for number in range(count):
        log.append({"kind": "step", "number": number}, now=ISSUED)


def test_an_entry_is_a_canonical_line_at_its_index(log: AuditLog) -> None:
    receipt = log.append({"number": 1, "kind": "step", "digest": named("x"), "done": True, "next": None}, now=ISSUED)
    raw = log.entries_path.read_bytes()
    assert raw == (
        b'{"entry":{"digest":"%b","done":true,"kind":"step","next":null,"number":1},"index":0,'
        b'"time":"2026-11-21T06:30:00Z"}\n' % named("x").encode()
    )
    assert receipt.index == 0
    assert receipt.leaf == leaf_hash(raw[:-1])
    assert log.append({"kind": "step"}, now=ISSUED).index == 1
    assert [line.index for line in log.lines()] == [0, 1]


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"kind": None},
        {"kind": ""},
        {"kind": "two words"},
        {"kind": "step", "name": "Basil Mahfouz Al-Kuwaiti"},
        {"kind": "step", "name": "caf\xe9"},
        {"kind": "step", "name": "x" * 129},
        {"kind": "step", "name": "line\n"},
        {"kind": "step", "value": 0.5},
        {"kind": "step", "value": ["a"]},
        {"kind": "step", "value": {"a": 1}},
        {"kind": "step", "value": 2**53},
        {"kind": "step", "Two Words": 1},
        {"kind": "step", "": 1},
        {"kind": "step", **{f"n{i}": "x" * 128 for i in range(64)}},
    ],
)
def test_text_has_no_way_in_and_no_error_quotes_it(log: AuditLog, entry: dict[str, object]) -> None:
    with pytest.raises(BadInput) as caught:
        log.append(entry, now=ISSUED)  # type: ignore[arg-type]
    assert "Basil" not in str(caught.value)
    assert caught.value.__context__ is None or "Basil" not in str(caught.value.__context__)
    assert not list(raw_lines(log.directory))


@given(st.binary(max_size=100))
def test_no_bytes_crash_the_line_parser(raw: bytes) -> None:
    with pytest.raises(BadInput):
        parse_line(raw)


@pytest.mark.parametrize("size", range(1, 12))
def test_proofs_verify_under_the_signed_head(log: AuditLog, size: int) -> None:
    _fill(log, size)
    head = parse_checkpoint(log.checkpoint(STRANGER)).checkpoint
    leaves = [line.leaf for line in log.lines()]
    assert (head.origin, head.size, head.root) == (ORIGIN, size, root(leaves))
    for index, leaf in enumerate(leaves):
        proof = log.inclusion_proof(index, size=size)
        assert verify_inclusion(leaf, index=index, size=size, proof=proof, head=head.root)
    for old in range(size + 1):
        assert verify_consistency(
            old_size=old,
            old_head=root(leaves[:old]),
            size=size,
            head=head.root,
            proof=log.consistency_proof(old, size=size),
        )


@pytest.mark.parametrize(("index", "size"), [(3, 3), (-1, 3), (0, 4), (0, 0)])
def test_a_proof_that_the_log_cannot_give_is_refused(log: AuditLog, index: int, size: int) -> None:
    _fill(log, 3)
    with pytest.raises(BadInput, match=r"no (entry|tree)"):
        log.inclusion_proof(index, size=size)


def test_an_empty_log_can_be_signed(log: AuditLog) -> None:
    assert parse_checkpoint(log.checkpoint(STRANGER)).checkpoint.size == 0


def test_once_means_once(log: AuditLog) -> None:
    _fill(log, 3)
    first = log.append_once({"kind": "step", "number": 7}, now=ISSUED)
    assert log.append_once({"number": 7, "kind": "step"}, now=ISSUED) == first
    assert log.append_once({"kind": "step", "number": 1}, now=ISSUED).index == 1
    assert log.append_once({"kind": "step", "number": 70}, now=ISSUED).index == 4
    assert len(list(log.lines())) == 5


def test_a_line_cut_at_any_byte_is_healed_and_nothing_before_it_is_lost(log: AuditLog) -> None:
    _fill(log, 3)
    whole = log.entries_path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for cut in range(start, len(whole)):
        log.entries_path.write_bytes(whole[:cut])
        assert len(list(log.lines())) == 2
        receipt = log.append({"kind": "step", "number": 2}, now=ISSUED)
        assert receipt.index == 2
        assert log.entries_path.read_bytes() == whole


def test_healing_reaches_over_the_longest_line(log: AuditLog) -> None:
    long = {"kind": "step", **{f"n{i:02}": "x" * 128 for i in range(58)}}
    for _ in range(4):
        log.append(long, now=ISSUED)
    line = line_bytes(long, index=4, now=ISSUED)
    assert MAX_LINE - 300 < len(line) < MAX_LINE
    with log.entries_path.open("ab") as stream:
        stream.write(line[:-1])
    assert log.append({"kind": "step"}, now=ISSUED).index == 4


def test_a_log_that_ends_in_something_else_is_not_appended_to(log: AuditLog) -> None:
    _fill(log, 2)
    for junk in (b"junk\n", b"\n", b'{"entry":{"kind":"step"},"index":2}\n', b"x" * 5 * MAX_LINE):
        before = log.entries_path.read_bytes()
        log.entries_path.write_bytes(before + junk)
        with pytest.raises((BadInput, VerificationFailed)):
            log.append({"kind": "step"}, now=ISSUED)
        assert log.entries_path.read_bytes() == before + junk
        log.entries_path.write_bytes(before)


def test_what_was_signed_is_never_signed_away(log: AuditLog) -> None:
    _fill(log, 4)
    log.checkpoint(STRANGER)
    whole, signed = log.entries_path.read_bytes(), log.checkpoint_path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for changed in (lines[:3], [lines[1], lines[0], *lines[2:]], [lines[0].replace(b":0}", b":9}"), *lines[1:]], []):
        log.entries_path.write_bytes(b"".join(changed))
        with pytest.raises(VerificationFailed, match="not begin with the 4 entries"):
            log.checkpoint(STRANGER)
        assert log.checkpoint_path.read_bytes() == signed
    log.entries_path.write_bytes(b"".join(lines[:3]))
    with pytest.raises(VerificationFailed, match="3 entries, but 4 were signed"):
        log.append({"kind": "step"}, now=ISSUED)
    log.entries_path.write_bytes(whole)
    _fill(log, 1)
    assert parse_checkpoint(log.checkpoint(STRANGER)).checkpoint.size == 5


def test_a_line_that_nobody_appended_is_not_signed(log: AuditLog) -> None:
    _fill(log, 2)
    log.checkpoint(STRANGER)
    with log.entries_path.open("ab") as stream:
        stream.write(line_bytes({"kind": "step"}, index=3, now=ISSUED) + b"\n")
    with pytest.raises(BadInput, match="line 2 says that it is 3"):
        log.checkpoint(STRANGER)


def test_two_logs_do_not_share_a_folder(log: AuditLog) -> None:
    _fill(log, 1)
    log.checkpoint(STRANGER)
    with pytest.raises(VerificationFailed, match="of another log"):
        AuditLog(log.directory, "lethe.test/other").append({"kind": "step"}, now=ISSUED)


def test_a_full_disk_leaves_the_log_as_it_was(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(log, 2)
    before = log.entries_path.read_bytes()
    real = os.pwrite

    def half(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[: len(data) // 2], offset)

    monkeypatch.setattr("os.pwrite", half)
    with pytest.raises(BadInput, match="No space left"):
        log.append({"kind": "step"}, now=ISSUED)
    assert log.entries_path.read_bytes() == before


def test_a_symlink_in_place_of_the_log_is_refused(log: AuditLog, tmp_path: Path) -> None:
    log.directory.mkdir()
    log.entries_path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="symlinks are refused"):
        log.append({"kind": "step"}, now=ISSUED)
    assert not (tmp_path / "elsewhere").exists()


def test_appending_costs_the_same_however_long_the_log_is(log: AuditLog) -> None:
    """Bytes read per append, not seconds: the tail of the log and no more."""
    _fill(log, 1)
    line = log.entries_path.read_bytes()
    log.entries_path.write_bytes(line * 5000 + line_bytes({"kind": "step"}, index=5000, now=ISSUED) + b"\n")
    read: list[int] = []
    real = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        read.append(length)
        return real(descriptor, length, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.pread", counted)
        assert log.append({"kind": "step"}, now=ISSUED).index == 5001
    assert sum(read) <= 2 * MAX_LINE


# One appender: goes on from what its own acknowledgements say, as a restarted step would.
APPENDER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from pipelines.audit.log import AuditLog
folder, worker, each = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
acknowledged = folder / f"acknowledged-{worker}"
done = len(acknowledged.read_text().split()) if acknowledged.exists() else 0
log, now = AuditLog(folder / "log", "lethe.test/log"), datetime(2026, 11, 21, tzinfo=UTC)
for number in range(done, each):
    time.sleep(0.01)  # long enough for kills to fall among the appends on a fast machine too
    receipt = log.append_once({"kind": "step", "worker": worker, "number": number}, now=now)
    with acknowledged.open("a") as stream:
        stream.write(f"{receipt.index}\\n")
"""


def test_killed_appenders_lose_and_double_nothing(tmp_path: Path) -> None:
    """Eight processes append side by side, are killed at random points and started again until all is acknowledged."""
    assert _killed_and_restarted(tmp_path, appenders=8, each=25, kills=12, wait_s=120) >= 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_killed_appenders_lose_and_double_nothing(tmp_path: Path) -> None:
    assert _killed_and_restarted(tmp_path, appenders=200, each=10, kills=400, wait_s=840) >= 100


def _killed_and_restarted(folder: Path, *, appenders: int, each: int, kills: int, wait_s: float) -> int:
    """Run appenders, kill at random, start again, and check the log; returns how many were killed."""

    def start(worker: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", APPENDER, str(folder), str(worker), str(each)], cwd=ROOT)

    log, random, killed = AuditLog(folder / "log", ORIGIN), Random(7), 0
    running = {worker: start(worker) for worker in range(appenders)}
    deadline = time.monotonic() + wait_s
    while running and time.monotonic() < deadline:
        time.sleep(0.02 + random.random() * 0.05)
        for worker, process in list(running.items()):
            if process.poll() == 0:
                del running[worker]
            elif process.poll() is not None:
                running[worker] = start(worker)
        busy = [process for process in running.values() if process.poll() is None]
        if busy and killed < kills and log.entries_path.exists():
            random.choice(busy).send_signal(signal.SIGKILL)
            killed += 1
    for process in running.values():
        process.kill()
    assert not running
    _check_acknowledged(folder, log, appenders=appenders, each=each)
    return killed


def _check_acknowledged(folder: Path, log: AuditLog, *, appenders: int, each: int) -> None:
    found = {(line.entry["worker"], line.entry["number"]): line.index for line in log.lines()}
    assert len(list(log.lines())) == len(found) == appenders * each
    for worker in range(appenders):
        acknowledged = (folder / f"acknowledged-{worker}").read_text().split()
        assert len(acknowledged) == each
        for number, index in enumerate(acknowledged):
            # A kill between the log and the note of it makes the appender ask again: the answer is the same entry.
            assert found[worker, number] == int(index)
    head = parse_checkpoint(log.checkpoint(STRANGER)).checkpoint
    leaves = [line.leaf for line in log.lines()]
    assert (head.size, head.root) == (appenders * each, root(leaves))

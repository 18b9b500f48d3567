"""No bytes make a parser of the audit core raise anything but the errors that it declares."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attacks.world import build_world
from tests.fuzz.parsers import Parser, parsers, refuses_or_reads

NAMES = (
    "approval", "archive", "canonical", "certificate", "checkpoint", "cosigned", "envelope", "evidence", "index",
    "json", "line", "statement", "trust",
)  # fmt: skip
# Pieces that parsers stumble over: lengths, nesting, numbers, escapes, halves of characters.
PIECES = st.sampled_from(
    (
        b"", b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800", b'"', b"{", b"[" * 40, b"1e999", b"-0", b"9" * 30, b"NaN",
        b"null", b"true", b"\n", b"\xe2\x80\x94 ", b"=", b"\xf0\x9f\x98\x80", b"\0" * 512, b"1.0", b'{"a":1,"a":1}',
    )
)  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parser]:
    return dict(parsers(build_world(tmp_path_factory.mktemp("fuzz") / "world")))


def test_every_honest_input_is_read(table: dict[str, Parser]) -> None:
    assert tuple(table) == NAMES
    for parser in table.values():
        parser.parse(parser.honest)


# Where, how much is taken out, and what is put in. The place is taken modulo the length, which differs per world.
EDITS = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 600), PIECES | st.binary(max_size=12)), max_size=3)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(edits=EDITS, noise=st.binary(max_size=200))
def test_only_declared_errors_come_out(
    name: str, table: dict[str, Parser], edits: list[tuple[int, int, bytes]], noise: bytes
) -> None:
    """Bytes from nowhere, and honest bytes with pieces put in or over others."""
    parser, changed = table[name], table[name].honest
    for place, taken, piece in edits:
        begin = place % (len(changed) + 1)
        changed = changed[:begin] + piece + changed[begin + taken :]
    refuses_or_reads(parser, changed)
    refuses_or_reads(parser, noise)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_coverage_guided(name: str) -> None:
    if find_spec("atheris") is None:
        pytest.skip("atheris is not installed; pip install atheris")
    command = [sys.executable, "-m", "tests.fuzz.parsers", name, "-max_total_time=20"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]

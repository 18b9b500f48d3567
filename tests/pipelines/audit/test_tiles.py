"""Tiles: the same roots and proofs with and without them, and nothing believed of a file of tiles that lies."""

import struct
from pathlib import Path

import pytest

from pipelines.audit import tiles
from pipelines.audit.checkpoint import parse_checkpoint
from pipelines.audit.log import AuditLog
from pipelines.audit.merkle import leaf_hash, root, verify_consistency, verify_inclusion
from pipelines.audit.tiles import TILES, read_tree
from pipelines.errors import VerificationFailed
from tests.attacks.world import ISSUED, ORIGIN, STRANGER, named

RECORD = struct.Struct(">Q32s32s")


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four lines per tile, so that a few lines make several."""
    monkeypatch.setattr(tiles, "WIDTH", 4)


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "log", ORIGIN)


def _fill(log: AuditLog, count: int) -> None:
    begin = len(list(log.lines())) if log.entries_path.exists() else 0
    for number in range(begin, begin + count):
        log.append({"kind": "step", "number": number}, now=ISSUED)


def _leaves(log: AuditLog) -> list[bytes]:
    return [leaf_hash(line) for line in log.entries_path.read_bytes().splitlines()]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 8, 11, 16, 19])
def test_roots_and_proofs_are_those_of_the_lines(log: AuditLog, size: int) -> None:
    """Signed twice, so that the second head and every proof come by way of kept tiles."""
    _fill(log, size // 2)
    log.checkpoint(STRANGER)
    _fill(log, size - size // 2)
    head = parse_checkpoint(log.checkpoint(STRANGER)).checkpoint
    leaves = _leaves(log)
    assert (head.size, head.root) == (size, root(leaves))
    assert (log.directory / TILES).stat().st_size == size // 4 * RECORD.size
    for index, leaf in enumerate(leaves):
        proof = log.inclusion_proof(index, size=size)
        assert verify_inclusion(leaf, index=index, size=size, proof=proof, head=head.root)
    for old in range(size + 1):
        proof = log.consistency_proof(old, size=size)
        assert verify_consistency(old_size=old, old_head=root(leaves[:old]), size=size, head=head.root, proof=proof)
        assert log.root(old) == root(leaves[:old])


def test_a_kept_tile_saves_the_hashing_of_its_lines(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(log, 18)
    log.checkpoint(STRANGER)
    hashed: list[bytes] = []

    def counted(line: bytes) -> bytes:
        hashed.append(line)
        return leaf_hash(line)

    monkeypatch.setattr("pipelines.audit.merkle.leaf_hash", counted)
    log.checkpoint(STRANGER)
    assert len(set(hashed)) == 2


def _poison(log: AuditLog, number: int, **changes: object) -> None:
    """Another value in one tile of the file."""
    path = log.directory / TILES
    records = [list(record) for record in RECORD.iter_unpack(path.read_bytes())]
    for position, name in enumerate(("end", "content", "root")):
        records[number][position] = changes.get(name, records[number][position])
    path.write_bytes(b"".join(RECORD.pack(*record) for record in records))


@pytest.mark.parametrize(
    "changes",
    [{"root": bytes(32)}, {"content": bytes(32)}, {"end": 1}, {"end": 10**9}, {"end": 2**64 - 1}],
    ids=str,
)
def test_a_tile_that_lies_changes_nothing(log: AuditLog, changes: dict[str, object]) -> None:
    _fill(log, 13)
    log.checkpoint(STRANGER)
    _poison(log, 1, **changes)
    _fill(log, 3)
    head = parse_checkpoint(log.checkpoint(STRANGER)).checkpoint
    assert head.root == root(_leaves(log))
    _poison(log, 1, **changes)
    proof = log.inclusion_proof(6, size=16)
    assert verify_inclusion(_leaves(log)[6], index=6, size=16, proof=proof, head=head.root)


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 71, b"\0" * 72, b"\0" * 7200])
def test_a_file_that_holds_no_tiles_is_passed_over(log: AuditLog, content: bytes) -> None:
    _fill(log, 9)
    log.checkpoint(STRANGER)
    (log.directory / TILES).write_bytes(content)
    assert log.root(9) == root(_leaves(log))


def test_tiles_above_the_signed_head_do_not_count(log: AuditLog) -> None:
    """Nobody signed what they say yet: a root from there would be signed unseen."""
    _fill(log, 4)
    log.checkpoint(STRANGER)
    _fill(log, 4)
    read_tree(log.directory, signed=parse_checkpoint(log.checkpoint_path.read_bytes()).checkpoint).save()
    _poison(log, 1, root=bytes.fromhex(named("another subtree")))
    assert parse_checkpoint(log.checkpoint(STRANGER)).checkpoint.root == root(_leaves(log))


def test_a_signed_line_that_was_changed_is_noticed_though_its_tile_is_kept(log: AuditLog) -> None:
    _fill(log, 13)
    log.checkpoint(STRANGER)
    honest = log.entries_path.read_bytes()
    log.entries_path.write_bytes(honest.replace(b'"number":5', b'"number":6'))
    with pytest.raises(VerificationFailed, match="not begin with the 13 entries"):
        log.checkpoint(STRANGER)
    log.entries_path.write_bytes(honest)
    log.checkpoint(STRANGER)


def test_a_symlink_in_place_of_the_tiles_is_passed_over(log: AuditLog, tmp_path: Path) -> None:
    _fill(log, 9)
    log.checkpoint(STRANGER)
    (log.directory / TILES).rename(tmp_path / "elsewhere")
    (log.directory / TILES).symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere").read_bytes()
    log.checkpoint(STRANGER)
    assert not (log.directory / TILES).is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == before

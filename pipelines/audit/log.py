"""The audit log: lines that are only ever appended to, under a Merkle tree whose head is signed.

Promises: an entry that `append` returned for is on disk, once, at its index, whatever is killed beside it; several
processes may append at once; a checkpoint is signed only if the log still begins with everything that was signed
before. Appending costs the same however long the log is, as each line carries its own index; signing and proving read
every byte again, and hash line by line only what no checked tile covers (`tiles.py`). It cannot notice that its whole
folder was put back to an earlier state: who keeps a checkpoint elsewhere can, and a witness does.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.audit import merkle
from pipelines.audit.canonical import canonical
from pipelines.audit.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from pipelines.audit.cosignature import parse_cosigned
from pipelines.audit.encoding import sync_folder, write_atomic
from pipelines.audit.entries import ENTRIES, MAX_LINE, Line, Scalar, check_entry, line_bytes, parse_line, raw_lines
from pipelines.audit.tiles import LineTree, read_tree
from pipelines.errors import BadInput, VerificationFailed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CHECKPOINT = "checkpoint"
WITNESSED = "witnessed"
"""The latest checkpoint that witnesses cosigned."""


@dataclass(frozen=True)
class Receipt:
    """Where an entry is, and the hash of its line in the tree."""

    index: int
    leaf: bytes


@dataclass(frozen=True)
class _End:
    """Where the next line goes: its byte offset and its index."""

    offset: int
    index: int


@dataclass(frozen=True)
class AuditLog:
    """A log in a folder of its own.

    Attributes:
        directory: holds entries.jsonl and, once signed, checkpoint.
        origin: the log's name, first line of its checkpoints.
    """

    directory: Path
    origin: str

    @property
    def entries_path(self) -> Path:
        """The lines."""
        return self.directory / ENTRIES

    @property
    def checkpoint_path(self) -> Path:
        """The latest signed checkpoint; copy it elsewhere."""
        return self.directory / CHECKPOINT

    def append(self, entry: Mapping[str, Scalar], *, now: datetime) -> Receipt:
        """Add an entry; when this returns it is on disk.

        Raises:
            BadInput: a value that does not belong in a log, or the disk is full (the log is as it was).
            VerificationFailed: the last line is no log line, or lines are missing that were signed.
        """
        with self.locked() as descriptor:
            return self._append(descriptor, entry, now=now)

    def append_once(self, entry: Mapping[str, Scalar], *, now: datetime) -> Receipt:
        """Add an entry unless its content is there already: for steps that run again after a kill. Reads the log.

        Raises:
            BadInput: as `append`.
            VerificationFailed: as `append`.
        """
        # Canonical JSON sorts its keys, so a line begins with its entry and the entry ends where the index begins.
        wanted = b'{"entry":%b,"index":' % canonical(check_entry(dict(entry)))
        with self.locked() as descriptor:
            found = _find_line(descriptor, wanted)
            if found is None:
                return self._append(descriptor, entry, now=now)
            return Receipt(parse_line(found, what=str(self.entries_path)).index, merkle.leaf_hash(found))

    def checkpoint(self, private_key: "Ed25519PrivateKey") -> bytes:
        """Sign the log's present head, keep it as the latest checkpoint and return it.

        Raises:
            VerificationFailed: the log does not begin with what was signed before: signing would show two histories.
            BadInput: a line is no log line.
        """
        with self.locked():
            tree = self._checked_tree()
            head = Checkpoint(self.origin, tree.size, tree.root(tree.size))
            note = sign_checkpoint(head, private_key=private_key)
            write_atomic(self.checkpoint_path, note)
            tree.save()
            return note

    def checkpoint_over(self, size: int) -> bytes:
        """The note that witnesses cosigned last if it covers so many entries, else the latest checkpoint.

        Raises:
            BadInput: the log was never signed.
        """
        witnessed = self.directory / WITNESSED
        if witnessed.exists():
            note = witnessed.read_bytes()
            if parse_cosigned(note, what=str(witnessed)).head.size >= size:
                return note
        try:
            return self.checkpoint_path.read_bytes()
        except OSError as error:
            reason = error.strerror
        raise BadInput(f"{self.checkpoint_path}: the checkpoint cannot be read: {reason}")

    def inclusion_proof(self, index: int, *, size: int) -> tuple[bytes, ...]:
        """The audit path of an entry in the tree of the first `size` entries.

        Raises:
            BadInput: the log has no such tree or the tree no such entry.
        """
        tree = self._tree(size)
        if not 0 <= index < size:
            raise BadInput(f"{self.directory}: no entry {index} in a tree of {size}")
        return merkle.inclusion_proof(index, size=size, subtree=tree.subtree)

    def consistency_proof(self, old_size: int, *, size: int) -> tuple[bytes, ...]:
        """That the tree of `size` entries extends the one of `old_size`.

        Raises:
            BadInput: the log has no such trees.
        """
        tree = self._tree(size)
        if not 0 <= old_size <= size:
            raise BadInput(f"{self.directory}: no tree of {old_size} within one of {size}")
        return merkle.consistency_proof(old_size, size=size, subtree=tree.subtree)

    def root(self, size: int) -> bytes:
        """The head of the tree of the first `size` lines, as they are now.

        Raises:
            BadInput: the log has no such tree.
        """
        return self._tree(size).root(size)

    def lines(self) -> Iterator[Line]:
        """Every complete line, in order.

        Raises:
            BadInput: a line is no log line, or does not stand at its index.
        """
        for index, raw in enumerate(raw_lines(self.directory)):
            yield parse_line(raw, index=index, what=str(self.entries_path))

    def _tree(self, size: int) -> LineTree:
        tree = read_tree(self.directory, signed=self._last_signed())
        if not 0 <= size <= tree.size:
            raise BadInput(f"{self.directory}: no tree of {size} entries: the log has {tree.size}")
        return tree

    def _checked_tree(self) -> LineTree:
        """The tree, if it extends what was signed and the lines that were not signed yet are log lines."""
        last = self._last_signed()
        tree = read_tree(self.directory, signed=last)
        if last.size > tree.size or tree.root(last.size) != last.root:
            raise VerificationFailed(
                f"{self.directory}: does not begin with the {last.size} entries that were signed; not signed again"
            )
        for index, raw in tree.lines(last.size):
            parse_line(raw, index=index, what=str(self.entries_path))
        return tree

    def _last_signed(self) -> Checkpoint:
        if not self.checkpoint_path.exists():
            return Checkpoint(self.origin, 0, merkle.EMPTY_ROOT)
        last = parse_checkpoint(self.checkpoint_path.read_bytes(), what=str(self.checkpoint_path)).checkpoint
        if last.origin != self.origin:
            raise VerificationFailed(f"{self.checkpoint_path}: of another log than {self.origin}")
        return last

    def _append(self, descriptor: int, entry: Mapping[str, Scalar], *, now: datetime) -> Receipt:
        end = self._heal(descriptor)
        if end.index < (signed := self._last_signed().size):
            raise VerificationFailed(
                f"{self.directory}: {end.index} entries, but {signed} were signed; nothing was appended"
            )
        raw = line_bytes(entry, index=end.index, now=now)
        try:
            _write_all(descriptor, raw + b"\n", offset=end.offset)
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, end.offset)
            reason = error.strerror
        else:
            return Receipt(end.index, merkle.leaf_hash(raw))
        raise BadInput(f"{self.entries_path}: cannot append: {reason}")

    def _heal(self, descriptor: int) -> _End:
        """Find the end of the last complete line; cut off what a killed process left behind it, unacknowledged."""
        size = os.fstat(descriptor).st_size
        start = max(0, size - 2 * MAX_LINE)
        tail = os.pread(descriptor, size - start, start)
        complete = tail[: tail.rfind(b"\n") + 1]
        if start > 0 and complete.count(b"\n") < 2:
            raise VerificationFailed(f"{self.entries_path}: the last {len(tail)} bytes are no log lines")
        if len(complete) < len(tail):
            os.ftruncate(descriptor, start + len(complete))
        if not complete:
            return _End(0, 0)
        last = parse_line(complete[:-1].rpartition(b"\n")[2], what=f"{self.entries_path}: last line")
        return _End(start + len(complete), last.index + 1)

    def _opened(self) -> int:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            return os.open(self.entries_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            reason = error.strerror
        raise BadInput(f"{self.entries_path}: the log cannot be opened: {reason} (symlinks are refused)")

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the log for this process; yields the descriptor of its lines.

        Raises:
            BadInput: the log cannot be opened.
        """
        descriptor = self._opened()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size == 0:
                sync_folder(self.directory)
            yield descriptor
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes, *, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _find_line(descriptor: int, beginning: bytes) -> bytes | None:
    """The first complete line that begins so."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return None
    with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as lines:
        begin = 0 if lines[: len(beginning)] == beginning else lines.find(b"\n" + beginning) + 1
        end = lines.find(b"\n", begin) if begin or lines[: len(beginning)] == beginning else -1
        return lines[begin:end] if end >= 0 else None

"""What a verifier sees in a log folder, read in one pass and trusted in nothing.

Promises: roots are computed from the lines themselves, in memory that does not grow with the log; lines that speak of
one statement are read strictly. Whether the roots are those that were signed is for `verify.py` to say.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.audit.checkpoint import Checkpoint, parse_checkpoint
from pipelines.audit.cosignature import Cosigned, parse_cosigned
from pipelines.audit.entries import Line, parse_line, raw_lines
from pipelines.audit.log import CHECKPOINT, WITNESSED
from pipelines.audit.merkle import Frontier, leaf_hash
from pipelines.errors import BadInput


@dataclass(frozen=True)
class LogView:
    """A log folder as it lies there.

    Attributes:
        note: its latest checkpoint, not verified.
        head: what that checkpoint claims.
        size: complete lines found.
        roots: computed Merkle roots by tree size, for the sizes that were asked for and exist.
        last: the last line under the checkpoint; None in an empty log.
        about: every line that names the statement.
        witnessed: the latest note that witnesses cosigned, not verified; None where there is none.
    """

    note: bytes
    head: Checkpoint
    size: int
    roots: Mapping[int, bytes]
    last: Line | None
    about: tuple[Line, ...]
    witnessed: Cosigned | None = None


def read_log(directory: Path, *, sizes: Collection[int], statement: str) -> LogView:
    """Read and hash a log folder.

    Args:
        directory: holds entries.jsonl and checkpoint.
        sizes: tree sizes whose roots are wanted, besides the checkpoint's own.
        statement: digest of the statement whose lines are wanted.

    Raises:
        BadInput: a file is missing, or a line that is looked at is no log line.
    """
    note = _read_note(directory / CHECKPOINT)
    head = parse_checkpoint(note, what=str(directory / CHECKPOINT)).checkpoint
    witnessed = _read_witnessed(directory / WITNESSED)
    wanted, needle = {*sizes, head.size}, statement.encode()
    if witnessed is not None:
        wanted.add(witnessed.head.size)
    tree, last, roots, about = Frontier(), None, {0: Frontier().root()}, []
    for index, raw in enumerate(raw_lines(directory)):
        tree = tree.append(leaf_hash(raw))
        if tree.size in wanted:
            roots[tree.size] = tree.root()
        # Lines under the checkpoint were read strictly by the log before it signed; the others by nobody yet.
        if tree.size >= head.size or needle in raw:
            line = parse_line(raw, index=index, what=f"{directory}: line {index}")
            last = line if tree.size == head.size else last
            if needle in raw:
                about.append(line)
    return LogView(
        note=note, head=head, size=tree.size, roots=roots, last=last, about=tuple(about), witnessed=witnessed
    )


def _read_witnessed(path: Path) -> Cosigned | None:
    return parse_cosigned(_read_note(path), what=str(path)) if path.exists() else None


def _read_note(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror
    raise BadInput(f"{path}: the checkpoint cannot be read: {reason}")

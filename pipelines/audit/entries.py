"""The lines of the audit log: what may stand in one, and how they are read back.

Promises: an entry holds digests, whole numbers, flags, short codes and UTC times under plain names and nothing else, so
that a sentence does not fit; a line is canonical JSON and carries its own index. It does not know which lines were
signed.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.audit import fields
from pipelines.audit.canonical import canonical, parse_canonical
from pipelines.audit.instants import format_instant, parse_instant
from pipelines.audit.merkle import leaf_hash
from pipelines.errors import BadInput

ENTRIES = "entries.jsonl"
MAX_LINE = 8192
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SAFE = re.compile(r"[A-Za-z0-9_.:/+@-]{0,128}")

Scalar = str | int | bool | None


@dataclass(frozen=True)
class Line:
    """One line of the log, read back."""

    index: int
    time: datetime
    entry: Mapping[str, Scalar]
    leaf: bytes


def line_bytes(entry: Mapping[str, Scalar], *, index: int, now: datetime) -> bytes:
    """The bytes of a log line, without its newline.

    Raises:
        BadInput: a value that is no digest, number, flag, short code or UTC time; no `kind`; or too long.
    """
    raw = canonical({"entry": check_entry(dict(entry)), "index": index, "time": format_instant(now)})
    if len(raw) >= MAX_LINE:
        raise BadInput(f"log entry: {len(raw)} bytes, fewer than {MAX_LINE} are allowed")
    return raw


def parse_line(raw: bytes, *, index: int | None = None, what: str = "log entry") -> Line:
    """Read a log line back, and check that it stands where it says.

    Raises:
        BadInput: anything that `line_bytes` would not have written.
    """
    top = fields.record(parse_canonical(raw, what=what, max_bytes=MAX_LINE), ("entry", "index", "time"), what=what)
    own = fields.count(top["index"], what=f"{what}: index")
    if index is not None and own != index:
        raise BadInput(f"{what}: line {index} says that it is {own}")
    time = parse_instant(top["time"], what=f"{what}: time")
    return Line(index=own, time=time, entry=check_entry(top["entry"], what=what), leaf=leaf_hash(raw))


def check_entry(entry: object, *, what: str = "log entry") -> dict[str, Scalar]:
    """The entry, if all of it may stand in a log. An error names the field, never the value.

    Raises:
        BadInput: a name or value that may not.
    """
    if not isinstance(entry, dict) or "kind" not in entry:
        raise BadInput(f"{what}: must be an object with a kind")
    fields.code(entry["kind"], what=f"{what}: kind")
    for position, (name, value) in enumerate(entry.items()):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadInput(f"{what}: name {position} must be lower case letters, digits and _, 64 at most")
        if isinstance(value, str) and not _SAFE.fullmatch(value):
            raise BadInput(
                f"{what}: {name} must be at most 128 of letters, digits and _ . : / + @ -; text has no place in a log"
            )
        if value is not None and not isinstance(value, str | int):
            raise BadInput(f"{what}: {name} must be a string, a whole number, a flag or null")
    return entry


def raw_lines(directory: Path, *, offset: int = 0) -> Iterator[bytes]:
    """Every complete line of a log, without its newline; a last line that is still being written is left out.

    Args:
        directory: the log's folder.
        offset: the byte to begin at, where a line begins.

    Raises:
        BadInput: no such log, or a line that is too long to be one.
    """
    path = directory / ENTRIES
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = error.strerror
    else:
        with os.fdopen(descriptor, "rb") as stream:
            if offset:
                stream.seek(offset)
            while raw := stream.readline(MAX_LINE + 1):
                if len(raw) > MAX_LINE:
                    raise BadInput(f"{path}: a line of more than {MAX_LINE} bytes")
                if raw.endswith(b"\n"):
                    yield raw[:-1]
            return
    raise BadInput(f"{path}: the log cannot be read: {reason} (symlinks are refused)")

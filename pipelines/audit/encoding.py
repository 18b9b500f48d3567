"""Base64 with one spelling per byte string, and files that appear whole or not at all.

Promises: `decode` refuses every text that `encode` would not have written; `write_atomic` leaves the old file or the
new one, never half of either.
"""

import base64
import binascii
import os
import tempfile
from pathlib import Path

from pipelines.errors import BadInput


def encode(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def decode(text: object, *, what: str, url_safe: bool = False) -> bytes:
    """The bytes of a base64 text that is exactly what an encoder writes.

    Args:
        text: base64 with padding, no blanks, no stray bits in its last character.
        what: how an error names the field.
        url_safe: accept the URL-safe alphabet too, as DSSE readers must.

    Raises:
        BadInput: anything else.
    """
    if isinstance(text, str) and text.isascii():
        alphabets = (base64.b64encode, base64.urlsafe_b64encode) if url_safe else (base64.b64encode,)
        try:
            data = base64.b64decode(text.translate(str.maketrans("-_", "+/")) if url_safe else text, validate=True)
        except (binascii.Error, ValueError):
            data = None
        if data is not None and any(alphabet(data) == text.encode() for alphabet in alphabets):
            return data
    raise BadInput(f"{what}: not canonical base64")


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file's content in one step that survives a crash; anybody may read it unless `mode` says otherwise.

    Raises:
        BadInput: as `write_part`.
    """
    part = write_part(path, data)
    try:
        part.chmod(mode)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_part(path: Path, data: bytes) -> Path:
    """Write beside `path` under a name ending in .part, mode 0600, flushed to disk; returns that name.

    Raises:
        BadInput: the disk is full or the folder cannot be written; nothing is left behind.
    """
    part: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        part = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
    except OSError as error:
        if part:
            part.unlink(missing_ok=True)
        reason = error.strerror
    else:
        return part
    raise BadInput(f"{path}: cannot be written: {reason}")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder as durable as the files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

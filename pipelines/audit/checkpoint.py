"""The head of a log as a C2SP tlog-checkpoint: origin, size and root in a signed note.

Promises: `parse` reads only what `sign_checkpoint` writes, byte for byte; `open_checkpoint` accepts it only under a
trusted log key. A checkpoint says what the log was; that nothing was taken back since is seen by who kept an older one.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pipelines.audit import fields
from pipelines.audit.encoding import decode, encode
from pipelines.audit.signatures import public_bytes
from pipelines.audit.trust import Trust, TrustedKey
from pipelines.errors import BadInput, VerificationFailed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ED25519 = b"\x01"
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_LINES = 6
_HASH_BYTES = 32


@dataclass(frozen=True)
class Checkpoint:
    """A log's name, its number of entries and its Merkle root."""

    origin: str
    size: int
    root: bytes

    def body(self) -> bytes:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{encode(self.root)}\n".encode()


@dataclass(frozen=True)
class SignedNote:
    """A checkpoint with its one signature line, not verified yet."""

    checkpoint: Checkpoint
    key_hash: bytes
    signature: bytes


def sign_checkpoint(checkpoint: Checkpoint, *, private_key: "Ed25519PrivateKey") -> bytes:
    """The checkpoint as a signed note; the key's name is the origin.

    Raises:
        BadInput: an origin that is no short code or holds a plus sign, which the note format forbids.
    """
    _check_origin(checkpoint.origin)
    body = checkpoint.body()
    line = _key_hash(checkpoint.origin, public_bytes(private_key)) + private_key.sign(body)
    return body + f"\n\N{EM DASH} {checkpoint.origin} {encode(line)}\n".encode()


def parse_checkpoint(text: bytes, *, what: str = "checkpoint") -> SignedNote:
    """Read a signed note without judging its signature.

    Raises:
        BadInput: anything that `sign_checkpoint` would not have written.
    """
    lines = _split(text, what=what)
    origin, size, root = lines[0], lines[1], decode(lines[2], what=f"{what}: root")
    _check_origin(origin)
    prefix = f"\N{EM DASH} {origin} "
    if not _SIZE.fullmatch(size) or len(root) != _HASH_BYTES or lines[3] or not lines[4].startswith(prefix):
        raise BadInput(f"{what}: not origin, size, root, blank line and the log's signature line")
    line = decode(lines[4].removeprefix(prefix), what=f"{what}: signature line")
    return SignedNote(Checkpoint(origin, int(size), root), key_hash=line[:4], signature=line[4:])


def open_checkpoint(text: bytes, *, trust: Trust, at: datetime, what: str = "checkpoint") -> Checkpoint:
    """The checkpoint in a note that a trusted log key signed.

    Args:
        text: the note.
        trust: its origins and log keys decide.
        at: the moment that the key's window must cover.
        what: how an error names the source.

    Raises:
        VerificationFailed: malformed, an unknown origin, or not signed by a log key that is trusted at that moment.
    """
    try:
        note = parse_checkpoint(text, what=what)
    except BadInput as error:
        reason = str(error)
    else:
        if note.checkpoint.origin not in trust.origins:
            raise VerificationFailed(f"{what}: of a log that the trust file does not name")
        if any(_signed_by(note, key) for key in trust.find("log", at=at).values()):
            return note.checkpoint
        reason = f"{what}: not signed by a log key that was trusted at {at:%Y-%m-%d}"
    raise VerificationFailed(reason)


def _signed_by(note: SignedNote, key: TrustedKey) -> bool:
    named = note.key_hash == _key_hash(note.checkpoint.origin, key.public_key)
    return named and key.signed(note.signature, note.checkpoint.body())


def _key_hash(origin: str, public_key: bytes) -> bytes:
    """C2SP signed-note: the first 4 bytes of SHA-256(name || 0x0A || 0x01 || public key)."""
    return hashlib.sha256(origin.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def _check_origin(origin: str) -> None:
    if "+" in fields.code(origin, what="checkpoint: origin"):
        raise BadInput("checkpoint: origin must not hold a plus sign")


def _split(text: bytes, *, what: str) -> list[str]:
    try:
        lines = text.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        lines = []
    if len(lines) != _LINES or lines[-1]:
        raise BadInput(f"{what}: not a signed note of five lines")
    return lines

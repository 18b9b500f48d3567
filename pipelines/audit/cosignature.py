"""Witness cosignatures on a checkpoint, in the form of C2SP tlog-cosignature (cosignature/v1, Ed25519 with a time).

Promises: what `cosign` writes any tool of that form reads; `parse_cosigned` reads that and nothing else; witnesses are
counted by key, inside the key's window, never by name or line. A cosignature says that the witness saw this head as an
extension of what it saw before: that no other history is shown to others.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.audit import fields
from pipelines.audit.checkpoint import Checkpoint, parse_checkpoint
from pipelines.audit.encoding import decode, encode
from pipelines.audit.signatures import public_bytes
from pipelines.audit.trust import Trust, TrustedKey
from pipelines.errors import BadInput

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAX_COSIGNATURES = 16
CLOCK_SKEW = timedelta(minutes=5)
_COSIGNATURE_V1 = b"\x04"
_NOTE_LINES = 5
# key hash, big-endian POSIX time, signature
_FORM = struct.Struct(">4sQ64s")
# 9999-12-31: the last day that datetime knows
_LAST_TIME = 253402300799


@dataclass(frozen=True)
class Cosignature:
    """One witness line, not verified yet."""

    name: str
    key_hash: bytes
    time: datetime
    signature: bytes


@dataclass(frozen=True)
class Cosigned:
    """A log's signed note and the witness lines under it; neither is verified yet."""

    note: bytes
    head: Checkpoint
    cosignatures: tuple[Cosignature, ...] = ()


def cosign(text: bytes, *, name: str, private_key: "Ed25519PrivateKey", now: datetime) -> bytes:
    """The note with this witness's line at its end; an older line of the same name and key is replaced.

    Args:
        text: a log's signed note, cosigned by others or not.
        name: of the witness, as it shows in the line.
        private_key: the witness's.
        now: when the witness saw the head.

    Raises:
        BadInput: no such note, a name that the form forbids, or too many cosignatures.
    """
    cosigned = parse_cosigned(text)
    _check_name(name)
    key_hash, moment = _key_hash(name, public_bytes(private_key)), now.replace(microsecond=0)
    signature = private_key.sign(_message(cosigned.head, moment))
    others = [other for other in cosigned.cosignatures if (other.name, other.key_hash) != (name, key_hash)]
    lines = [_line(one) for one in (*others, Cosignature(name, key_hash, moment, signature))]
    made = cosigned.note + "".join(lines).encode()
    parse_cosigned(made)
    return made


def parse_cosigned(text: bytes, *, what: str = "checkpoint") -> Cosigned:
    """Read a signed note with any number of cosignatures, none included; no signature is judged.

    Raises:
        BadInput: anything that `sign_checkpoint` and `cosign` would not have written.
    """
    lines = text.split(b"\n")
    note = b"\n".join(lines[:_NOTE_LINES]) + b"\n"
    head = parse_checkpoint(note if len(lines) > _NOTE_LINES else text, what=what).checkpoint
    found = tuple(_parse_line(line, what=f"{what}: cosignature") for line in lines[_NOTE_LINES:-1])
    if lines[-1] or len(found) > MAX_COSIGNATURES:
        raise BadInput(f"{what}: at most {MAX_COSIGNATURES} cosignatures, each on a line")
    return Cosigned(note, head, found)


def witnesses_of(cosigned: Cosigned, *, trust: Trust, now: datetime) -> Mapping[str, datetime]:
    """When each trusted witness saw the head, by key id: good cosignatures only, inside the key's window."""
    keys = trust.find("witness")
    return {
        key_id: one.time
        for one in cosigned.cosignatures
        for key_id, key in keys.items()
        if key.covers(one.time) and one.time <= now + CLOCK_SKEW and _is_by(one, key, head=cosigned.head)
    }


def _is_by(one: Cosignature, key: TrustedKey, *, head: Checkpoint) -> bool:
    named = one.key_hash == _key_hash(one.name, key.public_key)
    return named and key.signed(one.signature, _message(head, one.time))


def _message(head: Checkpoint, moment: datetime) -> bytes:
    return b"cosignature/v1\ntime %d\n%b" % (int(moment.timestamp()), head.body())


def _line(one: Cosignature) -> str:
    packed = _FORM.pack(one.key_hash, int(one.time.timestamp()), one.signature)
    return f"\N{EM DASH} {one.name} {encode(packed)}\n"


def _parse_line(line: bytes, *, what: str) -> Cosignature:
    mark, _, rest = line.decode("utf-8", "replace").partition(" ")
    name, _, packed = rest.partition(" ")
    data = decode(packed, what=what)
    if mark != "\N{EM DASH}" or len(data) != _FORM.size:
        raise BadInput(f"{what}: not a line of cosignature/v1")
    _check_name(name)
    key_hash, seconds, signature = _FORM.unpack(data)
    if seconds > _LAST_TIME:
        raise BadInput(f"{what}: its time is beyond the year 9999")
    return Cosignature(name, key_hash, datetime.fromtimestamp(seconds, UTC), signature)


def _key_hash(name: str, public_key: bytes) -> bytes:
    """C2SP signed-note: the first 4 bytes of SHA-256(name || 0x0A || 0x04 || public key)."""
    return hashlib.sha256(name.encode() + b"\n" + _COSIGNATURE_V1 + public_key).digest()[:4]


def _check_name(name: str) -> None:
    if "+" in fields.code(name, what="witness: name"):
        raise BadInput("witness: a name must not hold a plus sign")

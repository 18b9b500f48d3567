"""The trust file: which public key may do what, and when. It is all that a verifier takes on faith.

Promises: one key has one role; a key outside its window or revoked is never found; a file that leaves room for doubt is
refused. It holds public keys only, and it does not prove itself: an auditor gets it from a person, not from the run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from pipelines.audit import fields
from pipelines.audit.canonical import parse_strict
from pipelines.audit.encoding import decode, encode
from pipelines.audit.instants import format_instant, parse_instant
from pipelines.audit.signatures import is_signed, key_id
from pipelines.errors import BadInput

VERSION = "lethe-trust-v1"
VERSION_WITNESSED = "lethe-trust-v2"
"""The same with `witnesses`; written only where witnesses are demanded, so that no reader overlooks the demand."""

ROLES = ("evaluator", "approver", "log", "witness")
_MAX_BYTES = 2**20
_SECOND = timedelta(seconds=1)
_KEY_FIELDS = ("role", "public_key", "not_before", "not_after", "revoked_at", "revoked_because")


@dataclass(frozen=True)
class TrustedKey:
    """A public key, its one role and its window (from not_before, up to but without not_after).

    A revoked key counts for nothing, whatever time a signature claims: who stole it can write any time into what he
    signs.
    """

    role: str
    public_key: bytes
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None = None
    revoked_because: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no trust file may hold."""
        if self.role not in ROLES:
            raise BadInput(f"trust: unknown role; known: {', '.join(ROLES)}")
        if len(self.public_key) != 32:
            raise BadInput(f"trust: a public key has 32 bytes, this one {len(self.public_key)}")
        if self.not_before >= self.not_after:
            raise BadInput("trust: not_before must lie before not_after")
        if (self.revoked_at is None) != (self.revoked_because is None):
            raise BadInput("trust: revoked_at and revoked_because go together")

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw public key, in hex."""
        return key_id(self.public_key)

    def covers(self, at: datetime) -> bool:
        """Whether the moment lies in the key's window."""
        return self.not_before <= at < self.not_after

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature over the message is this key's."""
        return is_signed(self.public_key, signature, message)


@dataclass(frozen=True)
class Trust:
    """The log names and keys that a verifier accepts.

    Attributes:
        origins: names of logs.
        keys: public keys, each with its one role.
        witnesses: how many different witnesses must have cosigned the log.
    """

    origins: tuple[str, ...]
    keys: tuple[TrustedKey, ...] = ()
    witnesses: int = 0

    def __post_init__(self) -> None:
        """Refuse a key that is listed twice: in one role or, worse, in two."""
        if not self.origins or len(set(self.origins)) != len(self.origins):
            raise BadInput("trust: origins must name at least one log, each once")
        for origin in self.origins:
            fields.code(origin, what="trust: origin")
        if len({key.public_key for key in self.keys}) != len(self.keys):
            raise BadInput("trust: a public key is listed twice; one key has one role")
        if self.witnesses < 0:
            raise BadInput("trust: witnesses must be 0 or more")

    @classmethod
    def load(cls, path: Path) -> "Trust":
        """Read a trust file.

        Raises:
            BadInput: missing, not strict JSON, an unknown version, role or field, or one key in two roles.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            reason = error.strerror
        else:
            return cls.from_bytes(data, what=str(path))
        raise BadInput(f"{path}: the trust file cannot be read: {reason}")

    @classmethod
    def from_bytes(cls, data: bytes, *, what: str = "trust file") -> "Trust":
        """Read the content of a trust file; raises as `load`."""
        value = parse_strict(data, what=what, max_bytes=_MAX_BYTES)
        witnessed = isinstance(value, dict) and value.get("version") == VERSION_WITNESSED
        names = ("version", "origins", "keys", *(("witnesses",) if witnessed else ()))
        top = fields.record(value, names, what=what)
        if top["version"] not in (VERSION, VERSION_WITNESSED):
            raise BadInput(f"{what}: unknown version; known: {VERSION}, {VERSION_WITNESSED}")
        origins = tuple(
            fields.code(origin, what=f"{what}: origin") for origin in fields.items(top["origins"], what=what)
        )
        keys = [_key(item, what=f"{what}: key {i}") for i, item in enumerate(fields.items(top["keys"], what=what))]
        witnesses = fields.count(top["witnesses"], what=f"{what}: witnesses") if witnessed else 0
        return cls(origins=origins, keys=tuple(keys), witnesses=witnesses)

    def to_bytes(self) -> bytes:
        """The trust file, indented for the people who pass it on."""
        body: dict[str, object] = {
            "version": VERSION,
            "origins": list(self.origins),
            "keys": [_key_fields(key) for key in self.keys],
        }
        if self.witnesses:
            body |= {"version": VERSION_WITNESSED, "witnesses": self.witnesses}
        return (json.dumps(body, indent=2, sort_keys=True) + "\n").encode()

    def find(self, role: str, *, at: datetime | None = None) -> Mapping[str, TrustedKey]:
        """The keys of a role by key id: not revoked and, if a moment is given, inside their window then."""
        return MappingProxyType(
            {
                key.key_id: key
                for key in self.keys
                if key.role == role and key.revoked_at is None and (at is None or key.covers(at))
            }
        )

    def with_key(self, key: TrustedKey) -> "Trust":
        """The trust file with one more key.

        Raises:
            BadInput: the public key is listed already.
        """
        return replace(self, keys=(*self.keys, key))

    def rotated(self, key: TrustedKey, *, now: datetime, overlap: timedelta = timedelta(0)) -> "Trust":
        """A new key takes over its role: its present keys end at now + overlap, and what they signed stays good.

        A key that began this very second keeps that second: a trust file counts no fractions, and no window is empty.
        """
        end = now + overlap
        ended = [
            replace(old, not_after=max(end, old.not_before + _SECOND))
            if old.role == key.role and old.not_before <= end < old.not_after
            else old
            for old in self.keys
        ]
        return replace(self, keys=(*ended, key))

    def revoked(self, key_id: str, *, now: datetime, because: str) -> "Trust":
        """A key loses all trust, for what it signed before as well.

        Raises:
            BadInput: no such key, or the reason is no short code.
        """
        if key_id not in {key.key_id for key in self.keys}:
            raise BadInput(f"trust: no key {key_id[:16]} to revoke")
        reason = fields.code(because, what="trust: reason of a revocation")
        return replace(
            self,
            keys=tuple(
                replace(key, revoked_at=now, revoked_because=reason)
                if key.key_id == key_id and not key.revoked_at
                else key
                for key in self.keys
            ),
        )


def _key(value: object, *, what: str) -> TrustedKey:
    item = fields.record(value, _KEY_FIELDS, what=what)
    revoked_at, because = item["revoked_at"], item["revoked_because"]
    return TrustedKey(
        role=fields.code(item["role"], what=f"{what}: role"),
        public_key=decode(item["public_key"], what=f"{what}: public_key"),
        not_before=parse_instant(item["not_before"], what=f"{what}: not_before"),
        not_after=parse_instant(item["not_after"], what=f"{what}: not_after"),
        revoked_at=None if revoked_at is None else parse_instant(revoked_at, what=f"{what}: revoked_at"),
        revoked_because=None if because is None else fields.code(because, what=f"{what}: revoked_because"),
    )


def _key_fields(key: TrustedKey) -> dict[str, str | None]:
    return {
        "role": key.role,
        "public_key": encode(key.public_key),
        "not_before": format_instant(key.not_before),
        "not_after": format_instant(key.not_after),
        "revoked_at": None if key.revoked_at is None else format_instant(key.revoked_at),
        "revoked_because": key.revoked_because,
    }

"""Taking a key out of service: by rotation, which leaves what it signed good, or by revocation, which does not.

Promises: a kill at any point leaves a keyring that the next rotation or start of a run completes; at no time does the
trust file name a key that is lost. The log says when keys changed, by key id. It hands the new trust file to nobody:
whoever verifies gets it from a person.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.audit.keys import VALIDITY, Keyring, ensure_key, held, load_private_key, save_trust, settle
from pipelines.audit.log import AuditLog
from pipelines.audit.signatures import key_id, public_bytes
from pipelines.audit.trust import ROLES, Trust, TrustedKey
from pipelines.errors import BadInput

KEY_CHANGE = "key"


@dataclass(frozen=True)
class Listed:
    """A key of the trust file, and what is known about it here.

    Attributes:
        key: as trusted.
        state: `valid`, `not yet`, `ended` or `revoked`.
        private: where its private half lies, or why it cannot be used here.
    """

    key: TrustedKey
    state: str
    private: str


def rotate_key(
    ring: Keyring,
    role: str,
    *,
    log: AuditLog,
    now: datetime,
    overlap: timedelta = timedelta(0),
    validity: timedelta = VALIDITY,
) -> TrustedKey:
    """Make a new key for a role; the present ones end at now + overlap, and what they signed before stays good.

    The private half of the old key is gone afterwards: nothing can be signed with it any more.

    Raises:
        BadInput: an unknown role, no key of this role here, or a key file that is not safe.
    """
    _check_role(role)
    now = now.replace(microsecond=0)
    with held(ring.directory):
        trust = settle(ring, Trust.load(ring.trust))
        old = key_id(public_bytes(load_private_key(ring.private(role))))
        public_key = ensure_key(ring.coming(role))
        new = TrustedKey(role=role, public_key=public_key, not_before=now, not_after=now + validity)
        updated = trust.rotated(new, now=now, overlap=overlap)
        save_trust(ring, updated)
        settle(ring, updated)
    _tell(log, ring, now=now, event="rotated", role=role, key=new.key_id, replaces=old)
    return new


def revoke_key(ring: Keyring, named: str, *, log: AuditLog, now: datetime, because: str) -> TrustedKey:
    """Take all trust from a key, for what it signed before as well.

    Args:
        ring: holds the trust file.
        named: the key id, or its beginning (8 digits or more) where that is unique.
        log: is told.
        now: from when.
        because: a short code, for example `stolen`.

    Raises:
        BadInput: no such key or several, the key was revoked before, or the reason is no short code.
    """
    now = now.replace(microsecond=0)
    with held(ring.directory):
        trust = Trust.load(ring.trust)
        key = _find(trust, named)
        if key.revoked_at is not None:
            raise BadInput(f"trust: key {key.key_id[:16]} was revoked before")
        updated = trust.revoked(key.key_id, now=now, because=because)
        save_trust(ring, updated)
    _tell(log, ring, now=now, event="revoked", role=key.role, key=key.key_id, reason=because)
    return _find(updated, key.key_id)


def list_keys(ring: Keyring, *, now: datetime) -> tuple[Listed, ...]:
    """Every key that the trust file names.

    Raises:
        BadInput: the trust file cannot be read.
    """
    own = {role: _own(ring, role) for role in ROLES}
    listed = []
    for key in Trust.load(ring.trust).keys:
        found = own[key.role]
        private = found.problem if found.key_id in (None, key.key_id) else ""
        listed.append(Listed(key, _state(key, now=now), private or ("" if found.key_id != key.key_id else found.path)))
    return tuple(listed)


@dataclass(frozen=True)
class _Own:
    """The private key file of a role: whose it is, or why it cannot be used."""

    path: str
    key_id: str | None = None
    problem: str = ""


def _own(ring: Keyring, role: str) -> _Own:
    path = ring.private(role)
    if not path.exists():
        return _Own(str(path))
    try:
        return _Own(str(path), key_id(public_bytes(load_private_key(path))))
    except BadInput as error:
        return _Own(str(path), problem=str(error))


def _state(key: TrustedKey, *, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.covers(now):
        return "valid"
    return "not yet" if now < key.not_before else "ended"


def _find(trust: Trust, named: str) -> TrustedKey:
    found = [key for key in trust.keys if key.key_id.startswith(named)]
    if len(named) < 8 or len(found) != 1:
        raise BadInput(f"trust: {len(found)} keys begin so; give the key id, or at least its first 8 digits")
    return found[0]


def _tell(log: AuditLog, ring: Keyring, *, now: datetime, **entry: str) -> None:
    """Into the log, signed at once where the log's key is at hand: its next head must lie in a new log key's window."""
    log.append_once({"kind": KEY_CHANGE, **entry}, now=now)
    if ring.private("log").exists():
        log.checkpoint(load_private_key(ring.private("log")))


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise BadInput(f"keys: unknown role; known: {', '.join(ROLES)}")

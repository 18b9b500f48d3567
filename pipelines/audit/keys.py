"""Ed25519 keys on disk: one file per role, readable by its owner alone, never overwritten.

Promises: a private key is a PKCS#8 PEM file of mode 0600 that appears whole or not at all; a key file that anybody else
could read or swap is refused. It does not say whom to trust: that is the trust file's business.
"""

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from pipelines.audit.encoding import sync_folder, write_atomic, write_part
from pipelines.audit.signatures import key_id, public_bytes
from pipelines.audit.trust import ROLES, Trust, TrustedKey
from pipelines.errors import BadInput

TRUST_FILE = "trust.json"
VALIDITY = timedelta(days=730)
_MAX_PEM_BYTES = 4096


@dataclass(frozen=True)
class Keyring:
    """A folder of private keys and the trust file that names their public halves."""

    directory: Path

    def private(self, role: str) -> Path:
        """Where the private key of a role is kept."""
        return self.directory / f"{role}.pem"

    def coming(self, role: str) -> Path:
        """Where the next private key of a role waits until the trust file names it."""
        return self.directory / f"{role}.next.pem"

    @property
    def trust(self) -> Path:
        """Where the trust file is kept."""
        return self.directory / TRUST_FILE


def generate_key(path: Path) -> bytes:
    """Make a private key and return its raw public key.

    Raises:
        BadInput: a file of this name is there already (it is left as it was), or it cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    part = write_part(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        # A link, not a rename: it fails where a key is there already.
        os.link(part, path)
    except FileExistsError:
        taken = True
    else:
        taken = False
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)
    if taken:
        raise BadInput(f"{path}: there is a key already; keys are never overwritten")
    return public_bytes(key)


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key that only its owner can read.

    Raises:
        BadInput: missing, a symlink, not a plain file, of another owner, open to group or others, or not Ed25519 in
            PKCS#8 PEM.
    """
    key: object = None
    with suppress(ValueError, TypeError):
        key = load_pem_private_key(_read_owned(path), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(f"{path}: not an unencrypted Ed25519 key in PKCS#8 PEM form")
    return key


def ensure_keyring(
    directory: Path, *, origin: str, now: datetime, roles: Sequence[str] = ROLES, validity: timedelta = VALIDITY
) -> Keyring:
    """Make the keys that are missing and a trust file that names them; again: changes nothing. Processes take turns.

    Args:
        directory: made with mode 0700 if it is not there.
        origin: the name of the audit log whose checkpoints the log key signs.
        now: from when new keys are valid.
        roles: whose keys live here; a machine that only trains has none of them.
        validity: for how long new keys are valid.

    Raises:
        BadInput: an unknown role, a key file that is not safe, or a trust file that cannot be read.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    ring, now = Keyring(directory), now.replace(microsecond=0)
    with held(directory):
        trust = settle(ring, Trust.load(ring.trust)) if ring.trust.exists() else Trust(origins=(origin,))
        updated = trust if origin in trust.origins else replace(trust, origins=(*trust.origins, origin))
        for role in roles:
            public_key = ensure_key(ring.private(role))
            if key_id(public_key) not in {key.key_id for key in updated.keys}:
                updated = updated.with_key(
                    TrustedKey(role=role, public_key=public_key, not_before=now, not_after=now + validity)
                )
        if updated != trust or not ring.trust.exists():
            save_trust(ring, updated)
    return ring


def save_trust(ring: Keyring, trust: Trust) -> None:
    """Replace the trust file, once it reads back.

    Raises:
        BadInput: it does not: times of a trust file have whole seconds.
    """
    data = trust.to_bytes()
    if Trust.from_bytes(data) != trust:
        raise BadInput("trust: a time has fractions of a second, which the trust file would drop")
    write_atomic(ring.trust, data)


def settle(ring: Keyring, trust: Trust) -> Trust:
    """Put every coming key that the trust file names in its place: a rotation, possibly one that was killed half way.

    Raises:
        BadInput: a key file that is not safe.
    """
    for role in ROLES:
        coming = ring.coming(role)
        if os.path.lexists(coming) and key_id(public_bytes(load_private_key(coming))) in trust.find(role):
            coming.replace(ring.private(role))
            sync_folder(ring.directory)
    return trust


def ensure_key(path: Path) -> bytes:
    """The raw public key of a private key, which is made if it is not there.

    Raises:
        BadInput: a key file that is not safe.
    """
    if os.path.lexists(path):
        return public_bytes(load_private_key(path))
    return generate_key(path)


def _read_owned(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = error.strerror
    else:
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise BadInput(f"{path}: a key must be a plain file of the user that runs this")
            if status.st_mode & 0o177:
                raise BadInput(f"{path}: mode {stat.S_IMODE(status.st_mode):04o}, a key must be 0600")
            return stream.read(_MAX_PEM_BYTES)
    raise BadInput(f"{path}: the key cannot be opened: {reason} (symlinks are refused)")


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a keyring's folder for this process."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

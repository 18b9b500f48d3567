"""Public keys: their names, and whether a signature is theirs.

Promises: the same answer with and without `cryptography`; where it is missing, Ed25519 is checked in plain Python, and
`implementation` says which it was. It signs nothing: `keys.py` does.
"""

import hashlib
from typing import TYPE_CHECKING

from pipelines.audit import ed25519

try:
    import cryptography
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    PLAIN = True
else:
    PLAIN = False

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def public_bytes(key: "Ed25519PrivateKey") -> bytes:
    """The raw public key, 32 bytes."""
    return key.public_key().public_bytes_raw()


def key_id(public_key: bytes) -> str:
    """The name of a public key: SHA-256 of its 32 raw bytes, in hex."""
    return hashlib.sha256(public_key).hexdigest()


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the Ed25519 signature over the message is this key's."""
    if PLAIN:
        return ed25519.verify(public_key, signature, message)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def implementation() -> str:
    """What checks the signatures here."""
    return "plain Python (RFC 8032)" if PLAIN else f"cryptography {cryptography.__version__}"

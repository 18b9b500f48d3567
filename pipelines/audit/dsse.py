"""DSSE v1 envelopes: a payload, its type and Ed25519 signatures over both.

Promises: the signature is checked before anybody parses the payload; every signature in an envelope must be good and by
a key of its own, so that keys are counted and never key ids; an envelope has no room for anything else. It passes the
protocol's published test vectors. It does not know what a payload says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pipelines.audit import fields
from pipelines.audit.canonical import Json
from pipelines.audit.encoding import decode, encode
from pipelines.audit.signatures import key_id, public_bytes
from pipelines.audit.trust import Trust, TrustedKey
from pipelines.errors import BadInput, VerificationFailed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

IN_TOTO = "application/vnd.in-toto+json"
_MAX_SIGNATURES = 16


@dataclass(frozen=True)
class Signed:
    """A payload whose signatures were good, and the keys that made them."""

    payload: bytes
    keys: tuple[TrustedKey, ...]


def pae(payload: bytes, *, payload_type: str) -> bytes:
    """What is signed: DSSE's pre-authentication encoding; lengths count bytes."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, *, payload_type: str, private_key: "Ed25519PrivateKey") -> dict[str, Json]:
    """An envelope with one signature, its key named by key id."""
    signature = private_key.sign(pae(payload, payload_type=payload_type))
    name = key_id(public_bytes(private_key))
    return {
        "payload": encode(payload),
        "payloadType": payload_type,
        "signatures": [{"keyid": name, "sig": encode(signature)}],
    }


def verify(envelope: object, *, trust: Trust, role: str, at: datetime, payload_type: str = IN_TOTO) -> bytes:
    """The payload of an envelope that a key of this role signed while its window was open.

    Use `verify_signatures` where the moment is known only after the payload was read.

    Raises:
        VerificationFailed: as `verify_signatures`, or the key's window does not cover the moment.
    """
    signed = verify_signatures(envelope, keys=trust.find(role), payload_type=payload_type)
    check_windows(signed, at=at)
    return signed.payload


def check_windows(signed: Signed, *, at: datetime) -> None:
    """Refuse signatures by keys that were not valid at the moment.

    Raises:
        VerificationFailed: a key's window does not cover it.
    """
    for key in signed.keys:
        if not key.covers(at):
            raise VerificationFailed(
                f"signature: the {key.role} key {key.key_id[:16]} was not valid at the time of issue"
            )


def verify_signatures(
    envelope: object, *, keys: Mapping[str, TrustedKey], payload_type: str = IN_TOTO, threshold: int = 1
) -> Signed:
    """Check every signature of an envelope against trusted keys, without parsing the payload.

    Args:
        envelope: the parsed JSON object.
        keys: trusted keys by the names that a `keyid` may use.
        payload_type: the only type that is accepted.
        threshold: how many different keys must have signed.

    Raises:
        VerificationFailed: a malformed envelope, another payload type, a signature that is not good, a key id that is
            not trusted or not the signer's, a key that signed twice, or too few keys.
    """
    try:
        top = fields.record(envelope, ("payload", "payloadType", "signatures"), what="envelope")
        payload = decode(top["payload"], what="envelope: payload", url_safe=True)
        signatures = fields.items(top["signatures"], what="envelope: signatures")
    except BadInput as error:
        reason = str(error)
    else:
        if top["payloadType"] != payload_type:
            raise VerificationFailed(f"envelope: payload type is not {payload_type}")
        message = pae(payload, payload_type=payload_type)
        return Signed(payload, _signers(signatures, message=message, keys=keys, threshold=threshold))
    raise VerificationFailed(reason)


def _signers(
    signatures: list[object], *, message: bytes, keys: Mapping[str, TrustedKey], threshold: int
) -> tuple[TrustedKey, ...]:
    if len(signatures) > _MAX_SIGNATURES:
        raise VerificationFailed(f"envelope: {len(signatures)} signatures, at most {_MAX_SIGNATURES} are read")
    found: dict[bytes, TrustedKey] = {}
    for position, item in enumerate(signatures):
        key = _signer(item, message=message, keys=keys, what=f"envelope: signature {position}")
        if key.public_key in found:
            raise VerificationFailed(f"envelope: key {key.key_id[:16]} signed twice; keys are counted, not signatures")
        found[key.public_key] = key
    if len(found) < max(threshold, 1):
        raise VerificationFailed(f"envelope: signed by {len(found)} trusted key(s), {max(threshold, 1)} needed")
    return tuple(found.values())


def _signer(item: object, *, message: bytes, keys: Mapping[str, TrustedKey], what: str) -> TrustedKey:
    named = isinstance(item, dict) and "keyid" in item
    try:
        entry = fields.record(item, ("keyid", "sig") if named else ("sig",), what=what)
        signature = decode(entry["sig"], what=f"{what}: sig", url_safe=True)
        name = fields.code(entry["keyid"], what=f"{what}: keyid") if named else None
    except BadInput as error:
        reason = str(error)
    else:
        candidates = [key for key_name, key in keys.items() if name in (None, key_name)]
        for key in candidates:
            if key.signed(signature, message):
                return key
        reason = (
            f"{what}: not by a key that is trusted for this role"
            if not candidates
            else f"{what}: does not fit the payload"
        )
    raise VerificationFailed(reason)

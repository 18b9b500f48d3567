"""DSSE envelopes: the protocol's published vectors, and what a signature must not let through."""

import copy
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.dsse import IN_TOTO, pae, sign, verify, verify_signatures
from pipelines.audit.signatures import public_bytes
from pipelines.audit.trust import Trust, TrustedKey
from pipelines.errors import LetheError, VerificationFailed
from tests.attacks.world import ISSUED, MADE

VECTORS = json.loads((Path(__file__).parent / "dsse_vectors.json").read_text())
EVALUATOR = Ed25519PrivateKey.from_private_bytes(b"e" * 32)
APPROVER = Ed25519PrivateKey.from_private_bytes(b"a" * 32)


def _trusted(key: Ed25519PrivateKey, role: str) -> TrustedKey:
    return TrustedKey(role=role, public_key=public_bytes(key), not_before=MADE, not_after=MADE + timedelta(days=60))


TRUST = Trust(origins=("lethe.test/log",), keys=(_trusted(EVALUATOR, "evaluator"), _trusted(APPROVER, "approver")))


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["id"])
def test_published_vectors(vector: dict[str, Any]) -> None:
    keys = {
        name: TrustedKey(
            role="evaluator",
            public_key=bytes.fromhex(VECTORS["keys"][name]["public"]),
            not_before=MADE,
            not_after=MADE + timedelta(days=60),
        )
        for name in vector["trustedKeys"]
    }
    kind = vector["envelope"]["payloadType"]
    try:
        # An empty type is one that nobody supports: no caller can ask for it.
        if kind not in vector["supportedPayloadTypes"]:
            raise VerificationFailed("unsupported type")
        signed = verify_signatures(vector["envelope"], keys=keys, payload_type=kind, threshold=vector["threshold"])
    except LetheError:
        assert vector["expect"] == "reject"
    else:
        assert vector["expect"] == "accept"
        assert pae(signed.payload, payload_type=kind).hex() == vector["pae"]


def test_the_example_of_the_specification() -> None:
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae(b"hello world", payload_type="http://example.com/HelloWorld") == expected


@given(st.binary(max_size=64), st.text(st.characters(exclude_categories=["Cs"]), max_size=16))
def test_the_encoding_keeps_type_and_payload_apart(payload: bytes, kind: str) -> None:
    """Read back by the lengths alone, so that no two pairs share an encoding."""
    data = pae(payload, payload_type=kind)
    _, length, rest = data.split(b" ", 2)
    assert rest[: int(length)].decode() == kind
    size, body = rest[int(length) + 1 :].split(b" ", 1)
    assert (int(size), body) == (len(payload), payload)


def test_a_signed_payload_comes_back() -> None:
    envelope = sign(b"payload", payload_type=IN_TOTO, private_key=EVALUATOR)
    assert verify(envelope, trust=TRUST, role="evaluator", at=ISSUED) == b"payload"


@pytest.mark.parametrize("at", [MADE - timedelta(seconds=1), MADE + timedelta(days=60)])
def test_a_key_counts_inside_its_window_only(at: Any) -> None:
    envelope = sign(b"payload", payload_type=IN_TOTO, private_key=EVALUATOR)
    with pytest.raises(VerificationFailed, match="not valid at the time"):
        verify(envelope, trust=TRUST, role="evaluator", at=at)


def test_another_role_unknown_keys_and_other_types_are_refused() -> None:
    envelope = sign(b"payload", payload_type=IN_TOTO, private_key=EVALUATOR)
    with pytest.raises(VerificationFailed, match="not by a key that is trusted for this role"):
        verify(envelope, trust=TRUST, role="approver", at=ISSUED)
    other = sign(b"payload", payload_type="text/plain", private_key=EVALUATOR)
    with pytest.raises(VerificationFailed, match="payload type"):
        verify(other, trust=TRUST, role="evaluator", at=ISSUED)


def test_a_key_id_of_another_trusted_key_does_not_help() -> None:
    trust = TRUST.with_key(_trusted(Ed25519PrivateKey.from_private_bytes(b"2" * 32), "evaluator"))
    envelope: dict[str, Any] = sign(b"payload", payload_type=IN_TOTO, private_key=EVALUATOR)
    envelope["signatures"][0]["keyid"] = trust.keys[-1].key_id
    with pytest.raises(VerificationFailed, match="does not fit the payload"):
        verify(envelope, trust=trust, role="evaluator", at=ISSUED)


def test_two_signatures_of_one_key_without_ids_are_one_key() -> None:
    envelope: dict[str, Any] = sign(b"payload", payload_type=IN_TOTO, private_key=EVALUATOR)
    signature = {"sig": envelope["signatures"][0]["sig"]}
    envelope["signatures"] = [signature, signature]
    with pytest.raises(VerificationFailed, match="signed twice"):
        verify(envelope, trust=TRUST, role="evaluator", at=ISSUED)


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.update(extra=1),
        lambda e: e.pop("payloadType"),
        lambda e: e.update(payload=1),
        lambda e: e.update(payload=e["payload"].rstrip("=")),
        lambda e: e.update(payload=e["payload"] + "\n"),
        lambda e: e.update(signatures=[]),
        lambda e: e.update(signatures={}),
        lambda e: e.update(signatures=[None]),
        lambda e: e.update(signatures=e["signatures"] * 17),
        lambda e: e["signatures"][0].update(cert="x"),
        lambda e: e["signatures"][0].update(keyid=None),
        lambda e: e["signatures"][0].pop("sig"),
        lambda e: e["signatures"][0].update(sig=""),
    ],
)
def test_a_malformed_envelope_is_refused(change: Any) -> None:
    envelope = copy.deepcopy(sign(b"payload!", payload_type=IN_TOTO, private_key=EVALUATOR))
    change(envelope)
    with pytest.raises(VerificationFailed):
        verify(envelope, trust=TRUST, role="evaluator", at=ISSUED)


@pytest.mark.parametrize("envelope", [None, [], "text", 1])
def test_what_is_no_envelope_is_refused(envelope: object) -> None:
    with pytest.raises(VerificationFailed):
        verify(envelope, trust=TRUST, role="evaluator", at=ISSUED)

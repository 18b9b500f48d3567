"""Checkpoints: the C2SP forms, byte for byte, and whose signature counts."""

import base64
import hashlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from pipelines.audit.signatures import public_bytes
from pipelines.audit.trust import Trust, TrustedKey
from pipelines.errors import BadInput, LetheError, VerificationFailed
from tests.attacks.world import ISSUED, MADE, STRANGER

KEY = Ed25519PrivateKey.from_private_bytes(b"l" * 32)
ORIGIN = "lethe.test/log"
TRUST = Trust(
    origins=(ORIGIN,),
    keys=(
        TrustedKey(role="log", public_key=public_bytes(KEY), not_before=MADE, not_after=MADE + timedelta(days=60)),
        TrustedKey(
            role="witness", public_key=public_bytes(STRANGER), not_before=MADE, not_after=MADE + timedelta(days=60)
        ),
    ),
)
HEAD = Checkpoint(ORIGIN, 7, hashlib.sha256(b"head").digest())
NOTE = sign_checkpoint(HEAD, private_key=KEY)


def test_the_note_is_that_of_the_specification() -> None:
    """C2SP tlog-checkpoint and signed-note, written out by hand: key hash = SHA-256(name 0x0A 0x01 key)[:4]."""
    body = b"lethe.test/log\n7\n" + base64.b64encode(HEAD.root) + b"\n"
    key_hash = hashlib.sha256(b"lethe.test/log\n\x01" + public_bytes(KEY)).digest()[:4]
    line = base64.b64encode(key_hash + KEY.sign(body))
    assert body + b"\n\xe2\x80\x94 lethe.test/log " + line + b"\n" == NOTE
    assert parse_checkpoint(NOTE).checkpoint == HEAD


def test_the_log_key_counts_inside_its_window() -> None:
    assert open_checkpoint(NOTE, trust=TRUST, at=ISSUED) == HEAD
    with pytest.raises(VerificationFailed, match="trusted at"):
        open_checkpoint(NOTE, trust=TRUST, at=MADE - timedelta(seconds=1))


def test_another_role_or_another_log_does_not_count() -> None:
    with pytest.raises(VerificationFailed, match="not signed by a log key"):
        open_checkpoint(sign_checkpoint(HEAD, private_key=STRANGER), trust=TRUST, at=ISSUED)
    other = sign_checkpoint(Checkpoint("lethe.test/other", 7, HEAD.root), private_key=KEY)
    with pytest.raises(VerificationFailed, match="does not name"):
        open_checkpoint(other, trust=TRUST, at=ISSUED)


def test_every_changed_byte_is_refused() -> None:
    for position in range(len(NOTE)):
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(NOTE)
            changed[position] ^= flip
            with pytest.raises(LetheError):
                open_checkpoint(bytes(changed), trust=TRUST, at=ISSUED)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        NOTE[:-1],
        NOTE + b"\n",
        NOTE + NOTE.splitlines(keepends=True)[-1],
        NOTE.replace(b"\n7\n", b"\n07\n"),
        NOTE.replace(b"\n7\n", b"\n+7\n"),
        NOTE.replace(b"\n7\n", b"\n-1\n"),
        NOTE.replace(b"\n\n", b"\nextension\n\n"),
        NOTE.replace("\N{EM DASH}".encode(), b"-"),
        b"\xff" + NOTE,
    ],
)
def test_a_note_in_another_form_is_refused(text: bytes) -> None:
    with pytest.raises(BadInput):
        parse_checkpoint(text)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_parser(text: bytes) -> None:
    with pytest.raises(BadInput):
        parse_checkpoint(text)


@pytest.mark.parametrize("origin", ["", "two words", "plus+sign", "a\nb"])
def test_an_origin_that_the_note_cannot_carry_is_refused(origin: str) -> None:
    with pytest.raises(BadInput, match="origin"):
        sign_checkpoint(Checkpoint(origin, 1, bytes(32)), private_key=KEY)

"""Ed25519 verification in plain Python: the vectors of RFC 8032, and else the answer of `cryptography`."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.audit import ed25519, signatures
from pipelines.audit.signatures import implementation, is_signed, public_bytes
from tests.attacks.world import STRANGER

ORDER = 2**252 + 27742317777372353535851937790883648493
# RFC 8032, 7.1: TEST 1, 2, 3 and SHA(abc): public key, signature, message.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        "",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        "72",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        "af82",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ),
]


def _theirs(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize(("key", "signature", "message"), VECTORS)
def test_the_vectors_of_the_standard(key: str, signature: str, message: str) -> None:
    given_ = [bytes.fromhex(text) for text in (key, signature, message)]
    assert ed25519.verify(*given_)
    assert not ed25519.verify(given_[0], given_[1], given_[2] + b"\0")


@settings(max_examples=25)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200), data=st.data())
def test_any_signature_and_any_changed_bit(seed: bytes, message: bytes, data: st.DataObject) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    parts = [public_bytes(key), key.sign(message), message + b"."]
    assert ed25519.verify(parts[0], parts[1], message)
    which = data.draw(st.integers(0, 1))
    bit = data.draw(st.integers(0, 8 * len(parts[which]) - 1))
    parts[which] = (int.from_bytes(parts[which], "little") ^ 1 << bit).to_bytes(len(parts[which]), "little")
    assert not ed25519.verify(parts[0], parts[1], message)
    assert not _theirs(parts[0], parts[1], message)


def test_a_second_spelling_of_a_signature_is_refused() -> None:
    """S + L gives the same point (RFC 8032, 5.1.7 refuses it; without the check one signature has two spellings)."""
    public_key, signature = public_bytes(STRANGER), STRANGER.sign(b"x")
    larger = (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    assert ed25519.verify(public_key, signature, b"x")
    assert not ed25519.verify(public_key, signature[:32] + larger, b"x")


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65])
def test_other_lengths_are_refused(length: int) -> None:
    assert not ed25519.verify(public_bytes(STRANGER), bytes(length), b"")
    assert not ed25519.verify(bytes(length), STRANGER.sign(b""), b"")


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
@settings(max_examples=25)
def test_what_is_no_point_is_refused_and_crashes_nothing(public_key: bytes, signature: bytes) -> None:
    assert ed25519.verify(public_key, signature, b"m") == _theirs(public_key, signature, b"m")


def test_a_point_at_infinity_or_beyond_the_field_is_refused() -> None:
    """Second spellings: y = p of y = 0, and x = 0 with its sign set."""
    for public_key in ((2**255 - 19).to_bytes(32, "little"), (1 | 1 << 255).to_bytes(32, "little"), b"\xff" * 32):
        assert not ed25519.verify(public_key, STRANGER.sign(b""), b"")


def test_without_cryptography_the_answer_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    public_key, signature = public_bytes(STRANGER), STRANGER.sign(b"x")
    assert implementation().startswith("cryptography ")
    assert is_signed(public_key, signature, b"x")
    monkeypatch.setattr(signatures, "PLAIN", True)
    assert implementation() == "plain Python (RFC 8032)"
    assert is_signed(public_key, signature, b"x")
    assert not is_signed(public_key, signature, b"y")

"""Cosignatures in the form of C2SP tlog-cosignature, and a witness that never goes back on what it saw."""

import base64
import hashlib
import struct
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.checkpoint import sign_checkpoint
from pipelines.audit.cosignature import MAX_COSIGNATURES, cosign, parse_cosigned, witnesses_of
from pipelines.audit.log import WITNESSED
from pipelines.audit.merkle import leaf_hash, root
from pipelines.audit.signatures import key_id, public_bytes
from pipelines.audit.trust import Trust, TrustedKey
from pipelines.audit.witness import witness
from pipelines.errors import BadInput, LetheError, VerificationFailed
from tests.attacks.world import ISSUED, MADE, NOW, STRANGER, WITNESS, World, build_world
from tests.pipelines.audit.test_checkpoint import HEAD, KEY, NOTE, ORIGIN

NAME = "witness.example"
COSIGNED = cosign(NOTE, name=NAME, private_key=STRANGER, now=ISSUED)
STRANGERS = key_id(public_bytes(STRANGER))
TRUST = Trust(
    origins=(ORIGIN,),
    keys=(
        TrustedKey(
            role="witness", public_key=public_bytes(STRANGER), not_before=MADE, not_after=MADE + timedelta(days=60)
        ),
    ),
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build_world(tmp_path / "world")


def test_the_line_is_that_of_the_specification() -> None:
    """C2SP tlog-cosignature, written out by hand.

    The key hash is over type 0x04; a big-endian time follows, then the signature over "cosignature/v1", "time T" and
    the checkpoint's own lines.
    """
    key_hash = hashlib.sha256(b"witness.example\n\x04" + public_bytes(STRANGER)).digest()[:4]
    seconds = int(ISSUED.timestamp())
    body = b"lethe.test/log\n7\n" + base64.b64encode(HEAD.root) + b"\n"
    signature = STRANGER.sign(b"cosignature/v1\ntime %d\n" % seconds + body)
    packed = base64.b64encode(key_hash + struct.pack(">Q", seconds) + signature)
    assert NOTE + b"\xe2\x80\x94 witness.example " + packed + b"\n" == COSIGNED
    assert parse_cosigned(COSIGNED).note == NOTE
    assert parse_cosigned(COSIGNED).head == HEAD


def test_a_trusted_key_counts_inside_its_window_and_not_in_the_future() -> None:
    assert witnesses_of(parse_cosigned(COSIGNED), trust=TRUST, now=NOW) == {STRANGERS: ISSUED}
    assert not witnesses_of(parse_cosigned(COSIGNED), trust=TRUST, now=ISSUED - timedelta(minutes=6))
    early = cosign(NOTE, name=NAME, private_key=STRANGER, now=MADE - timedelta(seconds=1))
    assert not witnesses_of(parse_cosigned(early), trust=TRUST, now=NOW)
    assert not witnesses_of(parse_cosigned(NOTE), trust=TRUST, now=NOW)
    revoked = TRUST.revoked(STRANGERS, now=NOW, because="stolen")
    assert not witnesses_of(parse_cosigned(COSIGNED), trust=revoked, now=NOW)


def test_another_head_or_another_key_does_not_count() -> None:
    other = sign_checkpoint(type(HEAD)(ORIGIN, 8, HEAD.root), private_key=KEY)
    moved = other + COSIGNED[len(NOTE) :]
    assert not witnesses_of(parse_cosigned(moved), trust=TRUST, now=NOW)
    assert not witnesses_of(parse_cosigned(cosign(NOTE, name=NAME, private_key=KEY, now=ISSUED)), trust=TRUST, now=NOW)


def test_a_second_look_replaces_the_line_and_other_witnesses_keep_theirs() -> None:
    later = cosign(COSIGNED, name=NAME, private_key=STRANGER, now=NOW)
    assert witnesses_of(parse_cosigned(later), trust=TRUST, now=NOW) == {STRANGERS: NOW}
    both = cosign(later, name="other.example", private_key=KEY, now=NOW)
    assert [one.name for one in parse_cosigned(both).cosignatures] == [NAME, "other.example"]
    many = NOTE
    for number in range(MAX_COSIGNATURES):
        many = cosign(many, name=f"w{number}", private_key=STRANGER, now=NOW)
    with pytest.raises(BadInput, match="at most 16"):
        cosign(many, name="one-more", private_key=STRANGER, now=NOW)
    for name in ("two words", "a+b", ""):
        with pytest.raises(BadInput, match="name"):
            cosign(NOTE, name=name, private_key=STRANGER, now=NOW)


def test_every_changed_byte_is_refused_or_counts_for_nothing() -> None:
    for position in range(len(NOTE), len(COSIGNED)):
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(COSIGNED)
            changed[position] ^= flip
            try:
                assert not witnesses_of(parse_cosigned(bytes(changed)), trust=TRUST, now=NOW)
            except BadInput:
                continue


@given(st.binary(max_size=300) | st.binary(max_size=120).map(lambda tail: NOTE + tail))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    try:
        assert parse_cosigned(data).head == HEAD
    except BadInput:
        return


def test_a_time_beyond_the_calendar_is_refused() -> None:
    packed = base64.b64encode(struct.pack(">4sQ64s", b"abcd", 2**63, bytes(64)))
    with pytest.raises(BadInput, match="9999"):
        parse_cosigned(NOTE + b"\xe2\x80\x94 w " + packed + b"\n")


def _seen(world: World) -> Path:
    return world.root / "seen"


def test_a_witness_cosigns_what_extends_what_it_saw(world: World) -> None:
    before = world.be_witnessed()
    assert (before.before, before.head.size) == (5, 5)
    world.log.append({"kind": "step"}, now=NOW)
    world.log.checkpoint(world.key("log"))
    after = world.be_witnessed()
    assert (after.before, after.head.size) == (5, 6)
    cosigned = parse_cosigned((world.log.directory / WITNESSED).read_bytes())
    assert cosigned.note == world.log.checkpoint_path.read_bytes()
    assert list(witnesses_of(cosigned, trust=world.trust(), now=NOW)) == [key_id(public_bytes(world.key("witness")))]


def test_two_witnesses_of_one_head_stand_side_by_side(world: World) -> None:
    second = world.root / "seen-too"
    witness(world.log.directory, private_key=STRANGER, name="second", seen=second, trust=world.trust(), now=NOW)
    cosigned = parse_cosigned((world.log.directory / WITNESSED).read_bytes())
    assert [one.name for one in cosigned.cosignatures] == [WITNESS, "second"]


def test_a_witness_refuses_a_log_that_went_back_or_changed_its_past(world: World) -> None:
    witnessed, seen = (world.log.directory / WITNESSED).read_bytes(), _seen(world).read_bytes()
    lines = world.log_lines()
    changed = lines[0].replace(b"intake", b"in.ake")
    for other, said in (
        (lines[:4], "but 5 were seen before"),
        ([changed, *lines[1:]], "does not extend the 5 entries"),
        ([changed, *lines[1:], lines[4].replace(b'"index":4', b'"index":5')], "does not extend the 5 entries"),
    ):
        world.rewrite_log(other)
        world.resign_log()
        with pytest.raises(VerificationFailed, match=said):
            world.be_witnessed()
        assert (world.log.directory / WITNESSED).read_bytes() == witnessed
        assert _seen(world).read_bytes() == seen


def test_a_witness_looks_at_the_lines_and_at_the_log_key(world: World) -> None:
    lines = world.log_lines()
    head = type(HEAD)(world.log.origin, 6, root([leaf_hash(line) for line in (*lines, b"x")]))
    world.log.checkpoint_path.write_bytes(sign_checkpoint(head, private_key=world.key("log")))
    with pytest.raises(VerificationFailed, match="do not hash to the signed head of 6"):
        world.be_witnessed()
    world.log.checkpoint_path.write_bytes(sign_checkpoint(head, private_key=STRANGER))
    with pytest.raises(VerificationFailed, match="not signed by a log key"):
        world.be_witnessed()
    world.log.checkpoint_path.unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        world.be_witnessed()


def test_a_witness_keeps_one_file_per_log(world: World) -> None:
    _seen(world).write_bytes(sign_checkpoint(type(HEAD)("lethe.test/other", 1, HEAD.root), private_key=KEY))
    with pytest.raises(VerificationFailed, match="of another log"):
        world.be_witnessed()


def test_what_was_seen_is_on_disk_before_the_cosignature(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two, the witness has seen more than it cosigned, never less."""
    world.log.append({"kind": "step"}, now=NOW)
    note = world.log.checkpoint(world.key("log"))

    def killed(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.audit.witness.cosign", killed)
    with pytest.raises(KeyboardInterrupt):
        world.be_witnessed()
    assert _seen(world).read_bytes() == note


def test_the_archive_carries_the_cosignatures_and_a_trust_file_may_demand_them(world: World) -> None:
    world.edit_trust(lambda trust: Trust(trust.origins, trust.keys, witnesses=1))
    assert world.verify().certifies
    assert world.verify_archive().certifies
    (world.log.directory / WITNESSED).unlink()
    assert not world.verify().ok
    world.log.append({"kind": "step"}, now=NOW)
    world.log.checkpoint(world.key("log"))
    world.be_witnessed()
    world.log.append({"kind": "step"}, now=NOW)
    world.log.checkpoint(world.key("log"))
    assert world.verify().certifies, "entries after the witness's last look do not undo it"
    with pytest.raises(LetheError, match="witnesses must be 0 or more"):
        Trust((ORIGIN,), witnesses=-1)


def test_a_demand_survives_the_file_and_an_older_reader_refuses_it() -> None:
    demanding = Trust((ORIGIN,), TRUST.keys, witnesses=2)
    assert Trust.from_bytes(demanding.to_bytes()) == demanding
    assert b"lethe-trust-v2" in demanding.to_bytes()
    assert b"lethe-trust-v1" in TRUST.to_bytes()

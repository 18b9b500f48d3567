"""Rotation and revocation: what was signed before stays good or does not, and a kill half way is completed."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.audit.keys import Keyring, ensure_keyring, load_private_key, save_trust
from pipelines.audit.log import AuditLog
from pipelines.audit.rotation import list_keys, revoke_key, rotate_key
from pipelines.audit.signatures import key_id, public_bytes
from pipelines.audit.statement import build_certificate
from pipelines.audit.trust import ROLES, Trust
from pipelines.errors import BadInput
from tests.attacks.world import NOW, ORIGIN, World, build_world

LATER = NOW + timedelta(days=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build_world(tmp_path / "world")


def _own(world: World, role: str) -> str:
    return key_id(public_bytes(world.key(role)))


@pytest.mark.parametrize("role", ["evaluator", "log", "witness"])
def test_what_was_signed_before_a_rotation_stays_good_and_new_things_verify(world: World, role: str) -> None:
    old = _own(world, role)
    new = rotate_key(world.ring, role, log=world.log, now=LATER)
    assert _own(world, role) == new.key_id != old
    assert world.verify(now=LATER).certifies, world.verify(now=LATER).to_text()
    assert world.verify_archive(now=LATER).certifies
    later = replace(world.evidence(), issued=LATER + timedelta(hours=1))
    world.issue(build_certificate(later))
    report = world.verify(now=LATER + timedelta(hours=2))
    assert report.certifies, report.to_text()


def test_the_old_key_signs_nothing_new(world: World) -> None:
    old = world.key("evaluator")
    rotate_key(world.ring, "evaluator", log=world.log, now=LATER)
    payload = build_certificate(replace(world.evidence(), issued=LATER + timedelta(seconds=1)))
    world.forge(payload, signer=old)
    assert not world.verify(now=LATER + timedelta(hours=1)).ok


def test_an_overlap_lets_work_in_progress_end(world: World) -> None:
    old = world.key("evaluator")
    rotate_key(world.ring, "evaluator", log=world.log, now=LATER, overlap=timedelta(hours=2))
    for hours, good in ((1, True), (3, False)):
        at = LATER + timedelta(hours=hours)
        world.forge(build_certificate(replace(world.evidence(), issued=at)), signer=old)
        assert world.verify(now=at).ok is good


def test_a_revoked_key_takes_what_it_signed_with_it(world: World) -> None:
    revoked = revoke_key(world.ring, _own(world, "evaluator")[:8], log=world.log, now=LATER, because="stolen")
    assert (revoked.role, revoked.revoked_because) == ("evaluator", "stolen")
    assert not world.verify(now=LATER).ok
    with pytest.raises(BadInput, match="revoked before"):
        revoke_key(world.ring, revoked.key_id, log=world.log, now=LATER, because="stolen")
    rotate_key(world.ring, "evaluator", log=world.log, now=LATER)
    world.issue(build_certificate(replace(world.evidence(), issued=LATER)))
    assert world.verify(now=LATER).certifies


def test_the_log_says_when_keys_changed(world: World) -> None:
    old = _own(world, "approver")
    new = rotate_key(world.ring, "approver", log=world.log, now=LATER)
    revoke_key(world.ring, old, log=world.log, now=LATER, because="lost")
    rotated, revoked = [line.entry for line in world.log.lines()][-2:]
    assert rotated == {"kind": "key", "event": "rotated", "role": "approver", "key": new.key_id, "replaces": old}
    assert revoked == {"kind": "key", "event": "revoked", "role": "approver", "key": old, "reason": "lost"}


@pytest.mark.parametrize(("named", "said"), [("abc", "first 8 digits"), ("", "first 8"), ("0" * 64, "0 keys")])
def test_a_key_must_be_named_beyond_doubt(world: World, named: str, said: str) -> None:
    before = world.ring.trust.read_bytes()
    with pytest.raises(BadInput, match=said):
        revoke_key(world.ring, named, log=world.log, now=LATER, because="lost")
    with pytest.raises(BadInput, match="reason"):
        revoke_key(world.ring, _own(world, "log"), log=world.log, now=LATER, because="it was lost")
    assert world.ring.trust.read_bytes() == before


def test_a_key_may_be_rotated_in_the_second_that_it_was_made(tmp_path: Path) -> None:
    ring = ensure_keyring(tmp_path / "keys", origin=ORIGIN, now=NOW + timedelta(microseconds=7), roles=("log",))
    log = AuditLog(tmp_path / "log", ORIGIN)
    for microsecond in (8, 9):
        rotate_key(ring, "log", log=log, now=NOW + timedelta(microseconds=microsecond))
    assert [one.state for one in list_keys(ring, now=NOW + timedelta(seconds=1))] == ["ended", "ended", "valid"]
    with pytest.raises(BadInput, match="fractions of a second"):
        save_trust(ring, Trust.load(ring.trust).revoked(_id(ring), now=LATER.replace(microsecond=1), because="lost"))


def _id(ring: Keyring) -> str:
    return key_id(public_bytes(load_private_key(ring.private("log"))))


def test_an_unknown_role_or_a_role_without_a_key_here_is_refused(world: World) -> None:
    with pytest.raises(BadInput, match="known: evaluator"):
        rotate_key(world.ring, "owner", log=world.log, now=LATER)
    world.ring.private("approver").unlink()
    with pytest.raises(BadInput, match="cannot be opened"):
        rotate_key(world.ring, "approver", log=world.log, now=LATER)
    assert not world.ring.coming("approver").exists()


@pytest.mark.parametrize("killed_at", ["save_trust", "settle"])
def test_a_kill_half_way_is_completed_by_the_next_step(
    world: World, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    """Before the trust file names the new key, the old one stands; after, the next start puts the new one in place."""
    old, calls = _own(world, "evaluator"), []

    def killed(*given: object, **_: object) -> object:
        calls.append(given)
        if killed_at == "settle" and len(calls) == 1:
            return given[1]  # the look for an earlier rotation, before this one begins
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"pipelines.audit.rotation.{killed_at}", killed)
        with pytest.raises(KeyboardInterrupt):
            rotate_key(world.ring, "evaluator", log=world.log, now=LATER)
    coming = world.ring.coming("evaluator").read_bytes()
    assert _own(world, "evaluator") == old
    ensure_keyring(world.ring.directory, origin=ORIGIN, now=LATER)
    if killed_at == "save_trust":
        assert _own(world, "evaluator") == old
        rotate_key(world.ring, "evaluator", log=world.log, now=LATER)
    assert world.ring.private("evaluator").read_bytes() == coming
    assert not world.ring.coming("evaluator").exists()
    world.issue(build_certificate(replace(world.evidence(), issued=LATER)))
    assert world.verify(now=LATER).certifies


def test_the_list_says_what_may_be_used_here(world: World, tmp_path: Path) -> None:
    old = _own(world, "log")
    rotate_key(world.ring, "log", log=world.log, now=LATER)
    world.ring.private("evaluator").chmod(0o640)
    world.ring.private("witness").unlink()
    listed = {one.key.key_id: one for one in list_keys(world.ring, now=LATER)}
    assert [one.key.role for one in listed.values()] == [*ROLES[:3], "witness", "log"]
    assert (listed[old].state, listed[old].private) == ("ended", "")
    by_role = {one.key.role: one for one in listed.values() if one.state == "valid"}
    assert by_role["log"].private == str(world.ring.private("log"))
    assert "mode 0640" in by_role["evaluator"].private
    assert by_role["witness"].private == ""
    soon = {one.state for one in list_keys(world.ring, now=NOW - timedelta(days=60))}
    assert soon == {"not yet"}
    with pytest.raises(BadInput, match="cannot be read"):
        list_keys(replace(world.ring, directory=tmp_path), now=LATER)


def test_keys_are_rotated_without_a_log_yet(tmp_path: Path) -> None:
    ring = ensure_keyring(tmp_path / "keys", origin=ORIGIN, now=NOW, roles=("approver",))
    log = AuditLog(tmp_path / "log", ORIGIN)
    rotate_key(ring, "approver", log=log, now=LATER)
    assert [line.entry["event"] for line in log.lines()] == ["rotated"]

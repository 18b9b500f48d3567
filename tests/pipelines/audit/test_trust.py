"""The trust file: strict to read, and what rotation and revocation mean."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.audit.trust import Trust, TrustedKey
from pipelines.errors import BadInput
from tests.attacks.world import ISSUED, MADE, NOW

DAY = timedelta(days=1)


def _key(number: int, role: str = "evaluator") -> TrustedKey:
    return TrustedKey(role=role, public_key=bytes([number]) * 32, not_before=MADE, not_after=MADE + 60 * DAY)


TRUST = Trust(origins=("lethe.test/log",), keys=(_key(1), _key(2, "log")))


def test_a_trust_file_survives_the_round_trip(tmp_path: Path) -> None:
    revoked = TRUST.revoked(TRUST.keys[0].key_id, now=NOW, because="stolen")
    (tmp_path / "trust.json").write_bytes(revoked.to_bytes())
    assert Trust.load(tmp_path / "trust.json") == revoked


def _first(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda top: change(top["keys"][0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda top: top.update(version="lethe-trust-v3"), "unknown version"),
        (lambda top: top.update(extra=1), "unknown field"),
        (lambda top: top.pop("origins"), "origins is missing"),
        (lambda top: top.update(origins=[]), "at least one log"),
        (lambda top: top.update(origins=["a", "a"]), "each once"),
        (lambda top: top.update(origins=["two words"]), "origin"),
        (lambda top: top.update(keys={}), "must be a list"),
        (lambda top: top["keys"].append({**top["keys"][0], "role": "approver"}), "one key has one role"),
        (lambda top: top["keys"].append(top["keys"][0]), "listed twice"),
        (_first(lambda key: key.update(role="owner")), "unknown role"),
        (_first(lambda key: key.update(public_key="AA==")), "32 bytes"),
        (_first(lambda key: key.update(public_key=key["public_key"][:-1])), "not canonical base64"),
        (_first(lambda key: key.update(not_before="2026-11-01")), "not a UTC time"),
        (_first(lambda key: key.update(not_before="2026-11-01T09:00:00+00:00")), "not a UTC time"),
        (_first(lambda key: key.update(not_before="2026-02-30T09:00:00Z")), "not a UTC time"),
        (_first(lambda key: key.update(not_after=key["not_before"])), "must lie before"),
        (_first(lambda key: key.update(revoked_at=key["not_before"])), "go together"),
        (_first(lambda key: key.pop("revoked_at")), "revoked_at is missing"),
        (_first(lambda key: key.update(comment="mine")), "unknown field"),
    ],
)
def test_a_file_that_leaves_room_for_doubt_is_refused(change: Callable[[Any], object], reason: str) -> None:
    top = json.loads(TRUST.to_bytes())
    change(top)
    with pytest.raises(BadInput, match=reason):
        Trust.from_bytes(json.dumps(top).encode())


def test_a_duplicate_key_is_refused_and_a_missing_file_named(tmp_path: Path) -> None:
    data = TRUST.to_bytes().replace(b'"version"', b'"version": "x", "version"')
    with pytest.raises(BadInput, match="same key twice"):
        Trust.from_bytes(data)
    with pytest.raises(BadInput, match=r"none\.json: the trust file cannot be read"):
        Trust.load(tmp_path / "none.json")


def test_rotation_ends_the_old_key_and_keeps_what_it_signed() -> None:
    new = TrustedKey(role="evaluator", public_key=bytes([3]) * 32, not_before=NOW, not_after=NOW + 60 * DAY)
    rotated = TRUST.rotated(new, now=NOW, overlap=DAY)
    old = TRUST.keys[0].key_id
    assert set(rotated.find("evaluator", at=ISSUED)) == {old}
    assert set(rotated.find("evaluator", at=NOW)) == {old, new.key_id}
    assert set(rotated.find("evaluator", at=NOW + DAY)) == {new.key_id}
    assert rotated.find("log", at=NOW + 2 * DAY) == TRUST.find("log", at=NOW)
    with pytest.raises(BadInput, match="listed twice"):
        TRUST.rotated(TRUST.keys[1], now=NOW)


def test_a_rotation_never_makes_a_key_live_longer() -> None:
    late = MADE + 70 * DAY
    new = TrustedKey(role="evaluator", public_key=bytes([3]) * 32, not_before=late, not_after=late + DAY)
    assert TRUST.rotated(new, now=late).keys[0] == TRUST.keys[0]


def test_a_revoked_key_is_never_found_again() -> None:
    key = TRUST.keys[0].key_id
    revoked = TRUST.revoked(key, now=NOW, because="stolen")
    assert TRUST.find("evaluator", at=ISSUED)
    assert not revoked.find("evaluator", at=ISSUED)
    assert not revoked.find("evaluator")
    again = revoked.revoked(key, now=NOW + DAY, because="again")
    assert again == revoked
    with pytest.raises(BadInput, match="no key"):
        TRUST.revoked("0" * 64, now=NOW, because="stolen")
    with pytest.raises(BadInput, match="reason"):
        TRUST.revoked(key, now=NOW, because="lost on a train")

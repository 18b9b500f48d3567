"""The certificate file: issued once, read in one spelling."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.bundle import Locations, issue, parse_bundle, revoke
from pipelines.audit.canonical import sha256_bytes
from pipelines.audit.log import AuditLog
from pipelines.audit.statement import build_certificate
from pipelines.errors import BadInput
from tests.attacks.world import NOW, World, build_world, edited


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build_world(tmp_path / "world")


def _issue(world: World, payload: bytes, **changes: Any) -> bytes:
    settings: dict[str, Any] = {
        "evaluator_key": world.key("evaluator"),
        "log": world.log,
        "log_key": world.key("log"),
        "locations": Locations("../../log", "model"),
    }
    return issue(payload, **{**settings, **changes})


def test_issuing_again_finds_the_same_entry(world: World) -> None:
    """A task killed between the log and the file runs again: one entry, and a file that verifies."""
    before = len(list(world.log.lines()))
    world.certificate.write_bytes(_issue(world, world.payload()))
    assert len(list(world.log.lines())) == before
    assert world.verify().certifies


def test_what_does_not_verify_is_not_issued_and_not_logged(world: World) -> None:
    before = world.log.entries_path.read_bytes()
    bad = [
        edited(world.payload(), lambda predicate: predicate["gates"][0].update(passed=False)),
        edited(world.payload(), lambda predicate: predicate["metrics"][0].update(n_scored=1)),
        edited(world.payload(), lambda predicate: predicate.update(log_origin="lethe.test/other")),
        b"{}",
    ]
    for payload in bad:
        with pytest.raises(BadInput):
            _issue(world, payload)
    assert world.log.entries_path.read_bytes() == before


def test_a_log_of_another_name_is_refused(world: World) -> None:
    with pytest.raises(BadInput, match="names another log"):
        _issue(world, world.payload(), log=AuditLog(world.root / "second", "lethe.test/second"))


@pytest.mark.parametrize("place", ["/absolute", "a/../b", "./a", "a/", "", "a\nb", "a\\b", "a//b"])
def test_a_location_that_is_not_plain_and_relative_is_refused(world: World, place: str) -> None:
    before = world.log.entries_path.read_bytes()
    payload = edited(world.payload(), lambda predicate: predicate.update(limits=["another"]))
    with pytest.raises(BadInput, match="locations"):
        _issue(world, payload, locations=Locations(place))
    assert world.log.entries_path.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda top: top.update(version="lethe-certificate-v2"),
        lambda top: top.pop("log"),
        lambda top: top["log"].update(index=-1),
        lambda top: top["log"].update(index=True),
        lambda top: top["log"].update(size=0.5),
        lambda top: top["log"].update(proof=["00"]),
        lambda top: top["log"].update(proof=["0" * 64] * 65),
        lambda top: top["log"].update(checkpoint=None),
        lambda top: top["log"].update(extra=1),
        lambda top: top["locations"].update(model="/etc"),
        lambda top: top["locations"].update(trust="trust.json"),
        lambda top: top["envelope"].update(payload=top["envelope"]["payload"] + "="),
        lambda top: top["envelope"]["signatures"][0].update(keyid="evaluator"),
        lambda top: top["envelope"]["signatures"][0].update(sig="-_-_"),
    ],
)
def test_another_form_is_refused(world: World, change: Callable[[Any], object]) -> None:
    top = world.fields()
    change(top)
    world.write(top)
    with pytest.raises(BadInput):
        parse_bundle(world.certificate.read_bytes())


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    with pytest.raises(BadInput):
        parse_bundle(data)


def test_a_revocation_is_entered_once_and_a_sentence_is_no_reason(world: World) -> None:
    digest = sha256_bytes(world.payload())
    revoke(digest, because="wrong_rows", now=NOW, log=world.log, log_key=world.key("log"))
    size = len(list(world.log.lines()))
    revoke(digest, because="wrong_rows", now=NOW, log=world.log, log_key=world.key("log"))
    assert len(list(world.log.lines())) == size
    with pytest.raises(BadInput, match="reason"):
        revoke(digest, because="she asked for it", now=NOW, log=world.log, log_key=world.key("log"))


def test_a_superseding_certificate_stands_and_the_old_one_does_not(world: World) -> None:
    old = world.certificate.read_bytes()
    newer = replace(world.evidence(), supersedes=sha256_bytes(world.payload()), limits=("none known",))
    world.issue(build_certificate(newer))
    assert world.verify().certifies
    world.certificate.write_bytes(old)
    assert not world.verify().ok

"""The evidence archive: deterministic, complete, without text, and read back before it is written."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.audit.archive import unpack
from pipelines.audit.canonical import canonical, digest
from pipelines.audit.evidence import open_evidence
from pipelines.audit.log import WITNESSED, AuditLog
from pipelines.audit.report import FAILED, NOT_CHECKED
from pipelines.audit.verify import verify_certificate
from pipelines.errors import BadInput, VerificationFailed
from tests.attacks.world import ISSUED, MADE, NOW, ORIGIN, World, build_refused_world, build_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build_world(tmp_path / "world")


def test_it_holds_what_speaks_for_the_certificate_and_the_same_bytes_each_time(world: World) -> None:
    first = world.archive.read_bytes()
    assert sorted(unpack(first)) == [
        "certificate.json", "checkpoint", "consistency.json", "environment.lock", "evidence.json", "exports/bom.json",
        "measurements/candidate.json", "model.json", "policy.json",
    ]  # fmt: skip
    world.enclose()
    assert world.archive.read_bytes() == first


def test_alone_it_says_what_was_not_checked(world: World, tmp_path: Path) -> None:
    alone = tmp_path / "evidence.tar"
    alone.write_bytes(world.archive.read_bytes())
    report = verify_certificate(alone, trust=world.trust(), now=NOW)
    assert report.certifies, report.to_text()
    assert {check.name for check in report.checks if check.status == NOT_CHECKED} == {
        "log entries", "kept checkpoint", "standing", "model",
    }  # fmt: skip


def test_a_refusal_is_enclosed_too(tmp_path: Path) -> None:
    report = build_refused_world(tmp_path / "world").verify_archive()
    assert report.ok, report.to_text()
    assert not report.certifies


def test_what_the_statement_does_not_name_is_not_enclosed(world: World) -> None:
    honest = world.enclosure()
    for spoiled, said in (
        (replace(honest, policy=b'{"gates":[]}'), "policy.json is not the policy"),
        (replace(honest, environment=b""), "environment.lock is not the lock"),
        (replace(honest, manifest={"model.safetensors": digest(0)}), "model.json is not the manifest"),
        (replace(honest, certificate=b"{}"), "certificate"),
        (replace(honest, exports={"../up": b""}), "plain relative path"),
    ):
        with pytest.raises(BadInput, match=said):
            world.enclose(spoiled)


@pytest.mark.parametrize("text", ["a row of text", "caf\xe9", ""])
def test_text_among_the_measurements_is_refused_and_not_quoted(world: World, text: str) -> None:
    for document in ({"note": text}, {"rows": [0.5, [text]]}, {text: 1}):
        with pytest.raises(BadInput, match=r"measurements/rows\.json") as caught:
            world.enclose(replace(world.enclosure(), measurements={"rows.json": canonical(document)}))
        assert not text or text not in str(caught.value)


def test_a_log_that_does_not_hold_the_statement_cannot_speak_for_it(world: World, tmp_path: Path) -> None:
    other = AuditLog(tmp_path / "log", ORIGIN)
    with pytest.raises(BadInput, match="cannot be read"):
        other.checkpoint_over(1)
    other.append({"kind": "step"}, now=MADE)
    other.checkpoint(world.key("log"))
    world.log.checkpoint_path.write_bytes(other.checkpoint_over(1))
    (world.log.directory / WITNESSED).unlink()
    with pytest.raises(BadInput, match="has 1 entries"):
        world.enclose()


def test_an_archive_from_before_its_statement_or_the_future_fails(world: World) -> None:
    for made in (MADE, NOW.replace(year=2027)):
        world.enclose(now=made)
        failed = {check.name for check in world.verify_archive().checks if check.status == FAILED}
        assert "archive content" in failed
    world.enclose(now=ISSUED)
    assert world.verify_archive().certifies


def test_nothing_is_parsed_before_the_signature_is_good(world: World) -> None:
    """A stranger's index is refused as a signature, whatever it says."""
    world.edit_trust(lambda trust: replace(trust, keys=tuple(k for k in trust.keys if k.role != "evaluator")))
    with pytest.raises(VerificationFailed, match="signature 0"):
        open_evidence(world.archive.read_bytes(), trust=world.trust())

"""The page that is signed: a function of certificate and log, whose digest changes with anything on it."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.audit.approval import open_approval, page_of
from pipelines.audit.canonical import canonical
from pipelines.audit.champion import check_certified, load_approval, statement_in
from pipelines.audit.promotions import facts_of, read_facts
from pipelines.audit.records import Approval
from pipelines.audit.statement import build_approval, build_refusal, parse_approval
from pipelines.errors import BadInput, VerificationFailed
from tasks.approval import sources_of
from tests.attacks.promotion.world import FIRST, NOW, SECOND, World, build_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("world"))


def test_two_readers_compute_the_same_page(world: World) -> None:
    assert world.page() == world.page()
    assert world.page().digest == world.page().digest


@pytest.mark.parametrize("name", ["action", "request", "model", "version", "replaces", "requester"])
def test_the_digest_changes_with_every_field(name: str, world: World) -> None:
    other = replace(world.page(), **{name: "other"})  # type: ignore[arg-type]
    assert other.digest != world.page().digest


def test_the_digest_changes_with_what_would_come_back_and_what_was_asked(world: World) -> None:
    page = world.page()
    others = (replace(page, undoes=("REQ-9",)), replace(page, asked={**page.asked, "deadline": "2027-01-01T00:00:00Z"}))
    assert page.digest not in {other.digest for other in (*others, world.page(FIRST))}


def test_a_refusal_has_no_page(world: World) -> None:
    evidence = world.page().statement.evidence
    with pytest.raises(BadInput, match="refusal"):
        page_of(read_facts(world.home.log), payload=build_refusal(evidence, reasons=("no",)))


def test_a_version_that_the_log_does_not_know_has_no_page(world: World) -> None:
    with pytest.raises(BadInput, match="no registered version"):
        page_of(facts_of(()), payload=world.page().payload)


def test_the_approver_is_read_back(world: World) -> None:
    approval = world.approval()
    assert parse_approval(build_approval(approval)) == approval
    nobody = replace(approval, approver_commitment=None)
    assert parse_approval(build_approval(nobody)) == nobody
    with pytest.raises(BadInput):
        Approval.from_json({**approval.to_json(), "approver_commitment": "grace"}, what="approval")


def test_a_certificate_is_no_approval(world: World) -> None:
    certificate = world.home.run(SECOND) / "certify" / "certificate.json"
    with pytest.raises(VerificationFailed):
        open_approval({"payload": "", "payloadType": "", "signatures": []}, trust=world.trust())
    with pytest.raises(VerificationFailed):
        load_approval(certificate, trust=world.trust())


def test_only_the_candidate_is_certified(world: World, tmp_path: Path) -> None:
    run = world.home.run(SECOND)
    certificate, sources = run / "certify" / "certificate.json", sources_of(world.home)
    payload = check_certified(certificate, model=run / "unlearn" / "model", sources=sources, now=NOW)
    assert payload == statement_in(certificate)
    other = world.home.run(FIRST) / "unlearn" / "model"
    with pytest.raises(VerificationFailed, match="model"):
        check_certified(certificate, model=other, sources=sources, now=NOW)
    (tmp_path / "empty.json").write_bytes(canonical({}))
    with pytest.raises(VerificationFailed, match="file"):
        check_certified(tmp_path / "empty.json", model=other, sources=sources, now=NOW)

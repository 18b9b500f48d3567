"""Exports say what the signed statement says, in the format's own terms, and nothing that is not in it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.audit.canonical import Json, parse_canonical
from pipelines.audit.statement import Statement, parse_statement
from pipelines.errors import BadInput
from pipelines.exports.cyclonedx import bill_of_materials
from pipelines.exports.openlineage import run_events
from pipelines.exports.verification import verification_result
from tests.attacks.world import MADE, World, build_refused_world, build_world, named

LOCK = "rfc8785==0.1.4 \\\n    --hash=sha256:00\nTyping_Extensions==4.15.0\n# a comment\n"
DIGEST = named("statement")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("exports") / "world")


@pytest.fixture(scope="module")
def statement(world: World) -> Statement:
    return parse_statement(world.payload())


def _bom(statement: Statement) -> dict[str, Json]:
    return bill_of_materials(statement, statement_digest=DIGEST, lock=LOCK)


def test_the_bill_of_materials_fits_the_formats_own_schema(statement: Statement) -> None:
    reason = "the extra 'sbom' is not installed"
    validators = pytest.importorskip("cyclonedx.validation.json", reason=reason, exc_type=ImportError)
    versions = pytest.importorskip("cyclonedx.schema", reason=reason, exc_type=ImportError).SchemaVersion
    found = validators.JsonStrictValidator(versions.V1_6).validate_str(json.dumps(_bom(statement)))
    assert found is None, found


def test_the_model_card_holds_every_measurement_and_what_was_not_measured(statement: Statement) -> None:
    component = json.loads(json.dumps(_bom(statement)))["metadata"]["component"]
    card = component["modelCard"]
    assert [(m["type"], m["value"]) for m in card["quantitativeAnalysis"]["performanceMetrics"]] == [
        ("forget.extraction_strength", "0.125"),
        ("utility", "0.5"),
    ]
    ends = card["quantitativeAnalysis"]["performanceMetrics"][0]["confidenceInterval"]
    assert ends == {"lowerBound": "0.0625", "upperBound": "0.1875"}
    assert "Not measured: relearning" in card["considerations"]["technicalLimitations"]
    assert {"name": "lethe:gate:forgotten", "value": "passed"} in card["properties"]
    candidate = statement.evidence.candidate
    assert candidate is not None
    assert component["hashes"] == [{"alg": "SHA-256", "content": candidate.digest}]


def test_names_of_metrics_are_taken_apart(statement: Statement) -> None:
    metric = replace(statement.evidence.metrics[0], name="candidate/forget/min_k", interval=None)
    evidence = replace(statement.evidence, metrics=(metric, replace(metric, name="other/none/x", value=None)))
    document = json.loads(json.dumps(_bom(replace(statement, evidence=evidence))))
    [shown] = document["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert shown == {"type": "min_k", "value": "0.125", "slice": "candidate/forget"}


def test_references_of_the_bill_are_there_once_and_pins_are_listed(statement: Statement) -> None:
    document = json.loads(json.dumps(_bom(statement)))
    refs = re.findall(r'"bom-ref": "([^"]+)"', json.dumps(document))
    assert len(refs) == len(set(refs))
    named_there = {ref for entry in document["dependencies"] for ref in (entry["ref"], *entry.get("dependsOn", []))}
    assert named_there <= set(refs)
    libraries = {c["purl"] for c in document["components"] if c["type"] == "library"}
    assert libraries == {"pkg:pypi/rfc8785@0.1.4", "pkg:pypi/typing-extensions@4.15.0"}


def test_the_same_statement_gives_the_same_bill(statement: Statement) -> None:
    assert _bom(statement) == _bom(statement)
    other = bill_of_materials(statement, statement_digest=named("other"), lock=LOCK)
    assert other["serialNumber"] != _bom(statement)["serialNumber"]


def test_lineage_tells_the_steps_of_one_request_and_how_it_ended(world: World, statement: Statement) -> None:
    log, request = world.log, "REQ-1"
    log.append({"kind": "step", "request": request, "step": "seal"}, now=MADE)
    log.append({"kind": "step", "request": "REQ-2", "step": "train"}, now=MADE)
    events = [json.loads(line) for line in run_events(statement, request_id=request, lines=log.lines()).splitlines()]
    assert [(event["eventType"], event["job"]["name"]) for event in events] == [
        ("START", "erase"), ("RUNNING", "erase.seal"), ("COMPLETE", "erase"),
    ]  # fmt: skip
    assert len({event["run"]["runId"] for event in events}) == 1
    [made] = events[-1]["outputs"]
    candidate = statement.evidence.candidate
    assert candidate is not None
    assert made["facets"]["version"]["datasetVersion"] == candidate.digest


def test_a_refusal_ends_the_lineage_with_a_failure_and_verifies_nothing(tmp_path: Path) -> None:
    refused = parse_statement(build_refused_world(tmp_path / "world").payload())
    assert json.loads(run_events(refused, request_id="R", lines=()).splitlines()[-1])["eventType"] == "FAIL"
    with pytest.raises(BadInput, match="refused"):
        verification_result(refused, statement_digest=DIGEST)
    without = replace(refused, evidence=replace(refused.evidence, candidate=None))
    with pytest.raises(BadInput, match="before there was a candidate"):
        bill_of_materials(without, statement_digest=DIGEST, lock="")


def test_the_verification_result_names_passed_gates_policy_and_certificate(statement: Statement) -> None:
    result = json.loads(json.dumps(parse_canonical(verification_result(statement, statement_digest=DIGEST), what="")))
    candidate = statement.evidence.candidate
    assert candidate is not None
    assert result["predicateType"] == "https://in-toto.io/attestation/svr/v0.1"
    assert result["subject"] == [{"name": candidate.name, "digest": {"sha256": candidate.digest}}]
    said = result["predicate"]
    assert said["properties"] == ["LETHE_CERTIFIED", "LETHE_GATE_FORGOTTEN", "LETHE_GATE_SCHEMA"]
    assert said["verifier"]["policy"]["digest"]["sha256"] == statement.evidence.policy_digest
    assert said["verifier"]["certificate"]["digest"]["sha256"] == DIGEST
    assert said["timeCreated"] == "2026-11-21T06:30:00Z"

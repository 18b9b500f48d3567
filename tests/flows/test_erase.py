"""The flow as a whole: what a second run reuses, what it does not trust, and how a refusal ends."""

import base64
import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import pytest

from flows.erase import RequestReference, erase
from pipelines.audit.canonical import canonical, keyed_digest
from pipelines.audit.manifest import folder_digest
from pipelines.audit.trust import Trust
from pipelines.audit.verify import verify_certificate
from pipelines.config import load_config
from pipelines.errors import BadInput
from pipelines.unlearning.stages import read_result
from tasks.outcome import Outcome
from tests.flows.canary import EndedRun
from tests.flows.company import REQUEST, Company

pytestmark = pytest.mark.usefixtures("prefect_says_nothing")

IMPOSSIBLE = {"membership": {"margin": 0.0}, "extraction_strength": {"margin": 0.0}}


def _erase(company: Company) -> Outcome:
    reference = RequestReference(id=REQUEST, path=str(company.request))
    return erase(reference, load_config(company.config), str(company.policy), str(company.home))


def _log(company: Company) -> list[dict[str, object]]:
    return [json.loads(line)["entry"] for line in (company.home / "log" / "entries.jsonl").read_text().splitlines()]


@pytest.fixture
def first(ended_run: EndedRun) -> Outcome:
    """How the first run of the resting company ended."""
    return Outcome.model_validate_json(ended_run.said)


def test_a_second_run_changes_nothing(resting: Company, first: Outcome) -> None:
    before = _log(resting)
    assert first.registered
    assert _erase(resting) == first
    assert _log(resting) == before
    client = mlflow.MlflowClient(tracking_uri=first.version.tracking_uri if first.version else "")
    assert len(client.search_model_versions("name = 'tiny'")) == 1


def test_an_edited_measurement_is_measured_again(resting: Company, first: Outcome) -> None:
    path = resting.home / "runs" / REQUEST / "evaluate-candidate" / "evaluation.json"
    honest = path.read_bytes()
    path.write_bytes(honest.replace(b'"value":0', b'"value":1', 1))
    assert path.read_bytes() != honest
    assert _erase(resting).candidate_digest == first.candidate_digest
    assert path.read_bytes() == honest


def test_an_edited_candidate_is_made_again(resting: Company, first: Outcome) -> None:
    weights = resting.home / "runs" / REQUEST / "unlearn" / "model" / "model.safetensors"
    honest = weights.read_bytes()
    weights.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    assert _erase(resting).candidate_digest == first.candidate_digest
    assert weights.read_bytes() == honest


def test_a_refusal_is_signed_and_nothing_is_registered(quick: Company) -> None:
    quick.set_policy(gates=IMPOSSIBLE)
    reference = RequestReference(id=REQUEST, path=str(quick.request))
    state = erase(reference, load_config(quick.config), str(quick.policy), str(quick.home), return_state=True)
    assert state.name == "Refused"
    outcome = state.result()
    assert (outcome.status, outcome.version) == ("refused", None)
    assert outcome.reasons
    trust = Trust.load(quick.home / "keys" / "trust.json")
    report = verify_certificate(Path(outcome.certificate), trust=trust, now=datetime.now(UTC))
    assert report.ok
    assert not report.certifies
    assert not (quick.home / "runs" / REQUEST / "register").exists()
    assert not [entry for entry in _log(quick) if entry["kind"] == "registered"]
    assert "refused" in Path(outcome.report).read_text()


def test_the_log_binds_which_retain_rows_went_with_which_forget_rows(ended: Company) -> None:
    [entry] = [entry for entry in _log(ended) if entry["kind"] == "candidate"]
    vault = ended.home / "vault" / REQUEST
    drawn = read_result(vault / "steps" / "train").pairing
    assert entry["pairing"] == keyed_digest((vault / "salt").read_bytes(), canonical(drawn))


def test_the_policy_is_in_the_log_before_the_candidate(ended: Company) -> None:
    kinds = [entry["kind"] for entry in _log(ended)]
    assert kinds.index("seal") < kinds.index("candidate") < kinds.index("verdict") < kinds.index("certificate")
    [sealed] = [entry for entry in _log(ended) if entry["kind"] == "seal"]
    [verdict] = [entry for entry in _log(ended) if entry["kind"] == "verdict"]
    assert sealed["policy"] == verdict["policy"]


@pytest.mark.parametrize("surrogate", ["holdout", "shadow"])
def test_what_stands_in_for_a_reference_is_named_wherever_it_counts(quick: Company, surrogate: str) -> None:
    shadow = {"base": str(quick.root / "reference"), "models": 2, "epochs": 2, "rank": 4}
    quick.set_config(reference=None, **({"shadow": shadow} if surrogate == "shadow" else {}))
    quick.set_policy(reference=surrogate)
    outcome = _erase(quick)
    assert outcome.registered, outcome.reasons
    certificate = json.loads(Path(outcome.certificate).read_text())
    predicate = json.loads(base64.b64decode(certificate["envelope"]["payload"]))["predicate"]
    versions = {metric["name"]: metric["version"] for metric in predicate["metrics"]}
    gaps = {"candidate/forget/extraction_strength_gap", "candidate/forget/membership_gap"}
    assert {versions[name].endswith(f"+{surrogate}") for name in gaps} == {True}
    assert not versions["candidate/forget/extraction_strength"].endswith(f"+{surrogate}")
    [said] = [line for line in predicate["limits"] if f"(+{surrogate})" in line]
    assert said in Path(outcome.report).read_text().replace("&#39;", "'")
    trust = Trust.load(quick.home / "keys" / "trust.json")
    assert verify_certificate(Path(outcome.certificate), trust=trust, now=datetime.now(UTC)).certifies
    if surrogate == "shadow":
        made = [quick.home / "vault" / REQUEST / "steps" / f"shadow-{i}" / "model" for i in range(2)]
        base = folder_digest(quick.root / "reference")
        shown = predicate["reference"]
        assert (shown["version"], shown["digest"], shown["parent"]) == ("shadow", folder_digest(made[0]), base)
        assert folder_digest(made[1]) != folder_digest(made[0])
        assert versions["reference/forget/extraction_strength"]


def test_a_request_runs_once_at_a_time(quick: Company) -> None:
    vault = quick.home / "vault" / REQUEST
    vault.mkdir(parents=True, mode=0o700)
    descriptor = os.open(vault / "running.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(BadInput, match="is being run by another process"):
        _erase(quick)
    os.close(descriptor)


def test_every_byte_of_the_log_is_signed_at_the_end(ended: Company) -> None:
    certificate = ended.home / "runs" / REQUEST / "certify" / "certificate.json"
    trust = Trust.load(ended.home / "keys" / "trust.json")
    entries = ended.home / "log" / "entries.jsonl"
    honest = entries.read_bytes()
    last = honest.rindex(b'"time":"') + 9
    entries.write_bytes(honest[:last] + bytes([honest[last] ^ 1]) + honest[last + 1 :])
    assert not verify_certificate(certificate, trust=trust, now=datetime.now(UTC)).ok
    entries.write_bytes(honest)
    assert verify_certificate(certificate, trust=trust, now=datetime.now(UTC)).ok

"""The flow as a whole: what a second run reuses, what it does not trust, and how a refusal ends."""

import base64
import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import pytest
import yaml

from flows.erase import RequestReference, erase
from pipelines.audit.canonical import canonical, keyed_digest
from pipelines.audit.manifest import folder_digest
from pipelines.audit.trust import Trust
from pipelines.audit.verify import verify_certificate
from pipelines.config import load_config
from pipelines.errors import BadInput
from pipelines.unlearning.stages import read_result
from tasks.outcome import Outcome
from tests.flows.company import REQUEST, Company, found

pytestmark = pytest.mark.usefixtures("prefect_env")

IMPOSSIBLE = {"membership": {"margin": 0.0}, "extraction_strength": {"margin": 0.0}}


def _erase(company: Company) -> Outcome:
    reference = RequestReference(id=REQUEST, path=str(company.request))
    return erase(reference, load_config(company.config), str(company.policy), str(company.home))


def _log(company: Company) -> list[dict[str, object]]:
    return [json.loads(line)["entry"] for line in (company.home / "log" / "entries.jsonl").read_text().splitlines()]


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    company = found(tmp_path)
    first = _erase(company)
    before = _log(company)
    assert first.registered
    assert _erase(company) == first
    assert _log(company) == before
    client = mlflow.MlflowClient(tracking_uri=first.version.tracking_uri if first.version else "")
    assert len(client.search_model_versions("name = 'tiny'")) == 1


@pytest.mark.slow
def test_an_edited_measurement_is_measured_again(tmp_path: Path) -> None:
    company = found(tmp_path)
    first = _erase(company)
    path = company.home / "runs" / REQUEST / "evaluate-candidate" / "evaluation.json"
    honest = path.read_bytes()
    path.write_bytes(honest.replace(b'"value":0', b'"value":1', 1))
    assert path.read_bytes() != honest
    assert _erase(company).candidate_digest == first.candidate_digest
    assert path.read_bytes() == honest


def test_an_edited_candidate_is_made_again(tmp_path: Path) -> None:
    company = found(tmp_path)
    first = _erase(company)
    weights = company.home / "runs" / REQUEST / "unlearn" / "model" / "model.safetensors"
    honest = weights.read_bytes()
    weights.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    assert _erase(company).candidate_digest == first.candidate_digest
    assert weights.read_bytes() == honest


def test_a_refusal_is_signed_and_nothing_is_registered(tmp_path: Path) -> None:
    company = found(tmp_path, gates=IMPOSSIBLE)
    reference = RequestReference(id=REQUEST, path=str(company.request))
    state = erase(reference, load_config(company.config), str(company.policy), str(company.home), return_state=True)
    assert state.name == "Refused"
    outcome = state.result()
    assert (outcome.status, outcome.version) == ("refused", None)
    assert outcome.reasons
    trust = Trust.load(company.home / "keys" / "trust.json")
    report = verify_certificate(Path(outcome.certificate), trust=trust, now=datetime.now(UTC))
    assert report.ok
    assert not report.certifies
    assert not (company.home / "runs" / REQUEST / "register").exists()
    assert not [entry for entry in _log(company) if entry["kind"] == "registered"]
    assert "refused" in Path(outcome.report).read_text()


def test_the_log_binds_which_retain_rows_went_with_which_forget_rows(tmp_path: Path) -> None:
    company = found(tmp_path)
    _erase(company)
    [entry] = [entry for entry in _log(company) if entry["kind"] == "candidate"]
    vault = company.home / "vault" / REQUEST
    drawn = read_result(vault / "steps" / "train").pairing
    assert entry["pairing"] == keyed_digest((vault / "salt").read_bytes(), canonical(drawn))


def test_the_policy_is_in_the_log_before_the_candidate(tmp_path: Path) -> None:
    company = found(tmp_path)
    _erase(company)
    kinds = [entry["kind"] for entry in _log(company)]
    assert kinds.index("seal") < kinds.index("candidate") < kinds.index("verdict") < kinds.index("certificate")
    [sealed] = [entry for entry in _log(company) if entry["kind"] == "seal"]
    [verdict] = [entry for entry in _log(company) if entry["kind"] == "verdict"]
    assert sealed["policy"] == verdict["policy"]


@pytest.mark.parametrize("surrogate", ["holdout", "shadow"])
def test_what_stands_in_for_a_reference_is_named_wherever_it_counts(tmp_path: Path, surrogate: str) -> None:
    company = found(tmp_path)
    shadow = {"base": str(tmp_path / "reference"), "models": 2, "epochs": 2, "rank": 4}
    company.set_config(reference=None, **({"shadow": shadow} if surrogate == "shadow" else {}))
    policy = yaml.safe_load(company.policy.read_text())
    company.policy.write_text(yaml.safe_dump({**policy, "reference": surrogate}))
    outcome = _erase(company)
    assert outcome.registered, outcome.reasons
    certificate = json.loads(Path(outcome.certificate).read_text())
    predicate = json.loads(base64.b64decode(certificate["envelope"]["payload"]))["predicate"]
    versions = {metric["name"]: metric["version"] for metric in predicate["metrics"]}
    gaps = {"candidate/forget/extraction_strength_gap", "candidate/forget/membership_gap"}
    assert {versions[name].endswith(f"+{surrogate}") for name in gaps} == {True}
    assert not versions["candidate/forget/extraction_strength"].endswith(f"+{surrogate}")
    [said] = [line for line in predicate["limits"] if f"(+{surrogate})" in line]
    assert said in Path(outcome.report).read_text().replace("&#39;", "'")
    trust = Trust.load(company.home / "keys" / "trust.json")
    assert verify_certificate(Path(outcome.certificate), trust=trust, now=datetime.now(UTC)).certifies
    if surrogate == "shadow":
        made = [company.home / "vault" / REQUEST / "steps" / f"shadow-{i}" / "model" for i in range(2)]
        base = folder_digest(tmp_path / "reference")
        shown = predicate["reference"]
        assert (shown["version"], shown["digest"], shown["parent"]) == ("shadow", folder_digest(made[0]), base)
        assert folder_digest(made[1]) != folder_digest(made[0])
        assert versions["reference/forget/extraction_strength"]


def test_a_request_runs_once_at_a_time(tmp_path: Path) -> None:
    company = found(tmp_path)
    vault = company.home / "vault" / REQUEST
    vault.mkdir(parents=True, mode=0o700)
    descriptor = os.open(vault / "running.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(BadInput, match="is being run by another process"):
        _erase(company)
    os.close(descriptor)


@pytest.mark.slow
def test_every_byte_of_the_log_is_signed_at_the_end(tmp_path: Path) -> None:
    company = found(tmp_path)
    outcome = _erase(company)
    trust = Trust.load(company.home / "keys" / "trust.json")
    entries = company.home / "log" / "entries.jsonl"
    honest = entries.read_bytes()
    last = honest.rindex(b'"time":"') + 9
    entries.write_bytes(honest[:last] + bytes([honest[last] ^ 1]) + honest[last + 1 :])
    assert not verify_certificate(Path(outcome.certificate), trust=trust, now=datetime.now(UTC)).ok
    entries.write_bytes(honest)
    assert verify_certificate(Path(outcome.certificate), trust=trust, now=datetime.now(UTC)).ok

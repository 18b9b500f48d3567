"""A registration of the tiny model with a certificate that verifies, and where its bytes end up."""

import os
from datetime import UTC, datetime
from pathlib import Path

from pipelines.audit.bundle import Locations, issue
from pipelines.audit.canonical import canonical, keyed_digest, sha256_bytes
from pipelines.audit.entries import Scalar
from pipelines.audit.keys import load_private_key
from pipelines.audit.log import AuditLog
from pipelines.audit.manifest import folder_digest
from pipelines.audit.records import CodeRecord, GateRecord, Interval, MethodRecord, MetricRecord, ModelRecord, SetRecord
from pipelines.audit.statement import Evidence, build_certificate
from pipelines.home import Home
from pipelines.records import Candidate, LegalBasis, Measurement, ModelRef, RequestFile, SealedSet, Selector, TargetKind
from pipelines.records import Evaluation as Measured
from tasks.keys import keyring
from tasks.outcome import RegisteredVersion
from tasks.registry import Registration, register_version
from tasks.tracking import tracking
from tasks.workspace import ORIGIN

REQUESTER = "Ada Example, ada@example.org"
FORGET = SealedSet(role="forget", commitment="a1" * 32, count=3)
RETAIN = SealedSet(role="retain", commitment="b2" * 32, count=40)


METRIC = MetricRecord("candidate/forget/extraction_strength", "1", 0.05, Interval(0.04, 0.06), 3, 3, "18" * 32)


def registered_as(request_id: str, *, folder: Path, home: Home) -> Registration:
    """A certified candidate under the run folder of its request, with the tiny model of ``folder`` in it."""
    run = home.run(request_id)
    (run / "unlearn").mkdir()
    model = run / "unlearn" / "model"
    os.rename(folder, model)
    keyring(home)  # made before anything is signed
    salt, issued = (request_id * 8).encode()[:32], datetime.now(UTC).replace(microsecond=0)
    payload = build_certificate(evidence_of(request_id, digest=folder_digest(model), salt=salt, issued=issued))
    path = _certify(run / "certify", payload, home=home)
    made = Candidate(
        model=ModelRef(path=str(model), digest=folder_digest(model)),
        parent_digest="d4" * 32,
        method="npo",
        method_version="1",
        params_digest="e5" * 32,
        steps=10,
        epochs=2,
        stop_reason="epochs",
    )
    return Registration(
        request_id=request_id,
        name="lethe",
        candidate=made,
        forget=FORGET,
        retain=RETAIN,
        evaluations=(
            Measured(role="start", model_digest="d4" * 32, measurements=(measured("extraction_strength", 0.95),)),
            Measured(
                role="candidate",
                model_digest=made.model.digest,
                measurements=(measured("extraction_strength", 0.05), measured("truth_ratio", None)),
            ),
        ),
        settings={"method": "npo", "params.beta": 0.1, "training.epochs": 2},
        config_digest="f6" * 32,
        policy_digest="07" * 32,
        certificate_path=str(path),
        certificate_digest=sha256_bytes(payload),
    )


def promotable(request_id: str, *, folder: Path, home: Home) -> RegisteredVersion:
    """A registered version, with all that a run leaves in the log and the vault for an approver."""
    registration = registered_as(request_id, folder=folder, home=home)
    salt = (request_id * 8).encode()[:32]
    vault = home.vault(request_id)
    (vault / "salt").write_bytes(salt)
    (vault / "steps" / "data").mkdir(parents=True)
    received = datetime(2026, 11, 2, 9, tzinfo=UTC)
    asked = RequestFile(
        id=request_id,
        target=TargetKind.DATA_POINTS,
        selector=Selector(entity="Writer 1"),
        legal_basis=LegalBasis.GDPR_ART_17,
        requester=REQUESTER,
        received=received,
    )
    (vault / "steps" / "data" / "request.json").write_bytes(canonical(asked.plain()))
    log, now = AuditLog(home.log, origin=ORIGIN), datetime.now(UTC)
    told: dict[str, Scalar] = {"kind": "request", "request": request_id, "target": "data_points"}
    requester = keyed_digest(salt, canonical(REQUESTER))
    log.append(
        {**told, "legal_basis": "gdpr_art_17", "requester": requester, "deadline": "2026-12-02T09:00:00Z"}, now=now
    )
    made = register_version(registration, home=home)
    entry: dict[str, Scalar] = {
        "kind": "registered",
        "request": request_id,
        "model": made.name,
        "version": made.version,
    }
    certificate = registration.certificate_digest
    log.append({**entry, "candidate": made.model_digest, "certificate": certificate}, now=now)
    return made


def _certify(folder: Path, payload: bytes, *, home: Home) -> Path:
    keys = keyring(home)
    folder.mkdir()
    path = folder / "certificate.json"
    path.write_bytes(
        issue(
            payload,
            evaluator_key=load_private_key(keys.private("evaluator")),
            log=AuditLog(home.log, origin=ORIGIN),
            log_key=load_private_key(keys.private("log")),
            locations=Locations(log="../../../log", model="../unlearn/model"),
        )
    )
    return path


def evidence_of(request_id: str, *, digest: str, salt: bytes, issued: datetime) -> Evidence:
    return Evidence(
        request=keyed_digest(salt, canonical({"request": request_id})),
        forget=SetRecord(FORGET.commitment, FORGET.count),
        retain=SetRecord(RETAIN.commitment, RETAIN.count),
        base=ModelRecord("lethe.start", "given", "d4" * 32),
        candidate=ModelRecord("lethe", request_id, digest, "d4" * 32),
        reference=None,
        method=MethodRecord("npo", "1", "e5" * 32),
        code=CodeRecord("unknown", "29" * 32),
        config_digest="f6" * 32,
        policy_digest="07" * 32,
        metrics=(METRIC,),
        gates=(GateRecord("extraction_strength", True, (METRIC.name,)),),
        approvals=(),
        measured=("extraction strength of start and candidate",),
        not_measured=("relearning",),
        limits=("one attack strength",),
        log_origin=ORIGIN,
        issued=issued,
    )


def measured(metric: str, value: float | None) -> Measurement:
    return Measurement(
        metric=metric,
        version="1",
        split="forget",
        value=value,
        low=None if value is None else value - 0.01,
        high=None if value is None else value + 0.01,
        n_scored=0 if value is None else 3,
        n_expected=3,
        items_digest="18" * 32,
    )


def stored_folder(home: Home) -> Path:
    [folder] = (home.root / "mlflow" / "artifacts" / "models").iterdir()
    return folder / "artifacts"


def nothing_registered(home: Home) -> bool:
    with tracking(home) as mlflow:
        return not mlflow.client.search_model_versions("name = 'lethe'")

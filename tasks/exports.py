"""What leaves a run for others: the evidence archive that the evaluator signs, and views of it in other formats.

The archive is made where the evaluator's key is, right after the certificate. Everything else is drawn later from what
was signed, by anybody who can read the run's folder.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from pipelines.audit.bundle import parse_bundle
from pipelines.audit.canonical import canonical, sha256_bytes
from pipelines.audit.dsse import IN_TOTO, sign, verify_signatures
from pipelines.audit.encoding import write_atomic
from pipelines.audit.evidence import Enclosure, write_evidence
from pipelines.audit.keys import load_private_key
from pipelines.audit.log import AuditLog
from pipelines.audit.manifest import folder_digest, folder_manifest
from pipelines.audit.statement import Statement, parse_statement
from pipelines.audit.trust import Trust
from pipelines.errors import BadInput, VerificationFailed
from pipelines.exports.cyclonedx import bill_of_materials
from pipelines.exports.folder_signature import model_signature
from pipelines.exports.openlineage import run_events
from pipelines.exports.verification import verification_result
from pipelines.home import Home
from pipelines.provenance import ROOT
from pipelines.records import Candidate, Evaluation
from tasks.artifacts import show_note
from tasks.certificate import FILE, Certified
from tasks.keys import EVALUATOR, keyring
from tasks.stage import stage
from tasks.workspace import ORIGIN, RunContext, Workspace

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

STEP, ARCHIVE, RESULT, BOM = "evidence", "evidence.tar", "verification.json", "bom.json"


@stage("enclose", retries=0)
def enclose(
    run: RunContext, certified: Certified, candidate: Candidate | None, evaluations: tuple[Evaluation, ...]
) -> None:
    """Sign the evidence archive of this run's certificate or refusal: what verifies elsewhere, without text."""
    ws = Workspace.of(run)
    data = Path(certified.path).read_bytes()
    trust, key = Trust.load(keyring(ws.home, roles=EVALUATOR).trust), _evaluator_key(ws.home)
    statement, digest = _statement(data, trust)

    def build(part: Path) -> None:
        exports: dict[str, bytes] = {}
        if candidate:
            exports[BOM] = canonical(bill_of_materials(statement, statement_digest=digest, lock=_lock().decode()))
        if certified.passed:
            payload = verification_result(statement, statement_digest=digest)
            exports[RESULT] = canonical(sign(payload, payload_type=IN_TOTO, private_key=key))
        enclosure = Enclosure(
            certificate=data,
            policy=canonical(run.policy.plain()),
            environment=_lock(),
            measurements={f"{found.role}.json": canonical(found.plain()) for found in evaluations},
            manifest=folder_manifest(Path(candidate.model.path)) if candidate else None,
            exports=exports,
        )
        now = datetime.now(UTC).replace(microsecond=0)
        write_evidence(part / ARCHIVE, enclosure, evaluator_key=key, log=ws.log, now=now)
        for name, content in exports.items():
            write_atomic(part / name, content)

    folder = ws.step(STEP, {"statement": certified.digest}, build)
    show_note("evidence", f"# Evidence archive\n- file: `{folder / ARCHIVE}`\n- statement: `{digest}`")


def _evaluator_key(home: Home) -> "Ed25519PrivateKey":
    return load_private_key(keyring(home, roles=EVALUATOR).private("evaluator"))


def _lock() -> bytes:
    lock = ROOT / "requirements.lock"
    return lock.read_bytes() if lock.is_file() else b""


def _statement(certificate: bytes, trust: Trust) -> tuple[Statement, str]:
    """What an evaluator signed; verified first, parsed after."""
    bundle = parse_bundle(certificate)
    payload = verify_signatures(bundle.envelope, keys=trust.find("evaluator")).payload
    return parse_statement(payload), sha256_bytes(payload)


def _cyclonedx(home: Home, request_id: str) -> bytes:
    statement, digest = _signed(home, request_id)
    document = bill_of_materials(statement, statement_digest=digest, lock=_lock().decode())
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def _openlineage(home: Home, request_id: str) -> bytes:
    statement, _ = _signed(home, request_id)
    lines = AuditLog(home.log, origin=ORIGIN).lines()
    return run_events(statement, request_id=request_id, lines=lines).encode()


def evidence_of(home: Home, request_id: str) -> Path:
    """Where a request's evidence archive is, once it is signed."""
    return home.root / "runs" / request_id / STEP / ARCHIVE


def _evidence(home: Home, request_id: str) -> bytes:
    return _made(home, request_id, ARCHIVE)


def _svr(home: Home, request_id: str) -> bytes:
    return _made(home, request_id, RESULT)


def _model_signing(home: Home, request_id: str, key: Path | None) -> bytes:
    """Of the candidate's folder, once its bytes are those that were certified."""
    statement, _ = _signed(home, request_id)
    candidate = statement.evidence.candidate
    if key is None or candidate is None:
        raise BadInput("--format model-signing: needs --key FILE, and a request that has a candidate")
    folder = home.root / "runs" / request_id / "unlearn" / "model"
    if folder_digest(folder) != candidate.digest:
        raise VerificationFailed(f"{folder}: not the candidate that the certificate names")
    return model_signature(folder, key=key)


FORMATS: Mapping[str, Callable[[Home, str], bytes]] = MappingProxyType(
    {"cyclonedx": _cyclonedx, "evidence": _evidence, "openlineage": _openlineage, "svr": _svr}
)
MODEL_SIGNING = "model-signing"


def export_as(home: Home, request_id: str, form: str, *, key: Path | None = None) -> bytes:
    """A request's evidence in one of the formats.

    Args:
        home: the folder that holds the request.
        request_id: which.
        form: one of :data:`FORMATS` or :data:`MODEL_SIGNING`.
        key: what model-signing signs with; nothing else takes one.

    Raises:
        BadInput: an unknown format, a key too many or missing, or the run has not come as far as this needs.
        VerificationFailed: the certificate was not signed by a trusted evaluator, or the candidate was changed.
    """
    if form == MODEL_SIGNING:
        return _model_signing(home, request_id, key)
    if form not in FORMATS:
        raise BadInput(f"--format {form!r}: unknown; known: {', '.join((*FORMATS, MODEL_SIGNING))}")
    if key is not None:
        raise BadInput(f"--key: only --format {MODEL_SIGNING} takes one")
    return FORMATS[form](home, request_id)


def _signed(home: Home, request_id: str) -> tuple[Statement, str]:
    path = home.root / "runs" / request_id / "certify" / FILE
    if not path.is_file():
        raise BadInput(f"request {request_id}: nothing is signed yet under {home.root}")
    return _statement(path.read_bytes(), Trust.load(home.keys / "trust.json"))


def _made(home: Home, request_id: str, name: str) -> bytes:
    path = home.root / "runs" / request_id / STEP / name
    if not path.is_file():
        raise BadInput(f"request {request_id}: there is no {name} (only a certified model has verified properties)")
    return path.read_bytes()

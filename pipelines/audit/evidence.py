"""The evidence archive: all that speaks for one certificate or refusal, in one file that verifies on another machine.

Promises: what `write_evidence` writes is deterministic and verifies offline with the trust file alone; a signed
statement of the evaluator names every member by digest, so that none is added, left out or swapped; policy and lock are
the ones that the certificate names. It holds no text of rows, no model and no other request's log lines: who wants
those checked brings the folders.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.audit import fields
from pipelines.audit.archive import pack, unpack
from pipelines.audit.bundle import Bundle, parse_bundle, parse_envelope
from pipelines.audit.canonical import Json, canonical, parse_canonical, sha256_bytes
from pipelines.audit.cosignature import Cosigned, parse_cosigned
from pipelines.audit.dsse import IN_TOTO, Signed, sign, verify_signatures
from pipelines.audit.encoding import decode, write_atomic
from pipelines.audit.instants import format_instant, parse_instant
from pipelines.audit.log import AuditLog
from pipelines.audit.statement import STATEMENT_TYPE, Statement, parse_statement
from pipelines.audit.trust import Trust
from pipelines.errors import BadInput

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

EVIDENCE = "urn:lethe:evidence:v1"
INDEX, CERTIFICATE, CHECKPOINT, CONSISTENCY = "evidence.json", "certificate.json", "checkpoint", "consistency.json"
POLICY, ENVIRONMENT, MANIFEST = "policy.json", "environment.lock", "model.json"
MEASUREMENTS, EXPORTS = "measurements/", "exports/"
_REQUIRED = frozenset({CERTIFICATE, CHECKPOINT, CONSISTENCY, POLICY, ENVIRONMENT})
_MAX_PROOF = 64


@dataclass(frozen=True)
class Enclosure:
    """What goes into an archive, beside the log's own proofs.

    Attributes:
        certificate: the file that `issue` returned, of a certificate or a refusal.
        policy: canonical JSON, its SHA-256 is the statement's `policy_digest`.
        environment: the lock file of exact library versions, its SHA-256 is the statement's `code.lock_digest`; empty
            where none was shipped.
        measurements: canonical JSON by plain file name; digests, numbers and names without blanks only, no text.
        manifest: the candidate's files and their digests, from `folder_manifest`; None where there is no candidate.
        exports: other documents by plain file name, for example an ML-BOM. Bound by the signature, read by nobody here.
    """

    certificate: bytes
    policy: bytes
    environment: bytes
    measurements: Mapping[str, bytes] = field(default_factory=dict)
    manifest: Mapping[str, str] | None = None
    exports: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """An opened archive: its index was signed by an evaluator key, and every member is the one that it names.

    Attributes:
        members: content by name, without the index.
        signed: the index and who signed it; windows are for the verifier to check.
        statement: digest of the statement that the archive speaks for.
        made: when the archive was signed.
        checkpoint: a signed head of the log, cosigned where witnesses saw one that covers the certificate.
        proof: that the checkpoint in the archive extends the certificate's own.
    """

    members: Mapping[str, bytes]
    signed: Signed
    statement: str
    made: datetime
    checkpoint: Cosigned
    proof: tuple[bytes, ...]


def write_evidence(
    path: Path, enclosure: Enclosure, *, evaluator_key: "Ed25519PrivateKey", log: AuditLog, now: datetime
) -> str:
    """Write the evidence archive of a certificate or a refusal and return its SHA-256.

    Args:
        path: of the archive, for example `evidence.tar`; replaced in one step.
        enclosure: what to enclose.
        evaluator_key: signs the index of the archive.
        log: the log that holds the statement. The head that witnesses cosigned last is enclosed if it covers the
            statement, else the latest.
        now: when the archive is made. The same enclosure, log and time give the same bytes.

    Raises:
        BadInput: a member is not what the statement names, holds text or is too large; the log was never signed or does
            not hold the statement.
    """
    bundle = parse_bundle(enclosure.certificate)
    payload = decode(bundle.envelope["payload"], what="certificate: payload")
    statement = parse_statement(payload)
    members = _members(enclosure, bundle, log=log)
    check_members(members, statement)
    index = _index(members, statement=sha256_bytes(payload), made=now)
    parse_index(index)
    envelope = sign(index, payload_type=IN_TOTO, private_key=evaluator_key)
    data = pack({**members, INDEX: canonical(envelope)})
    unpack(data)
    write_atomic(path, data)
    return sha256_bytes(data)


def open_evidence(data: bytes, *, trust: Trust, what: str = "evidence") -> Evidence:
    """Read an archive: signature first, then the index, then every member against it.

    Raises:
        BadInput: anything that `write_evidence` would not have written; a member that the index does not name, or with
            another digest.
        VerificationFailed: the index was not signed by a trusted evaluator key.
    """
    found = unpack(data, what=what)
    if INDEX not in found:
        raise BadInput(f"{what}: {INDEX} is missing")
    envelope = parse_envelope(parse_canonical(found.pop(INDEX), what=f"{what}: {INDEX}"), what=f"{what}: {INDEX}")
    signed = verify_signatures(envelope, keys=trust.find("evaluator"))
    index = parse_index(signed.payload)
    if {name: sha256_bytes(content) for name, content in found.items()} != index.digests:
        raise BadInput(f"{what}: its members are not those that its signed index names")
    if missing := sorted(_REQUIRED - found.keys()):
        raise BadInput(f"{what}: {missing[0]} is missing")
    return Evidence(
        members=found,
        signed=signed,
        statement=index.statement,
        made=index.made,
        checkpoint=parse_cosigned(found[CHECKPOINT], what=f"{what}: {CHECKPOINT}"),
        proof=_read_proof(found[CONSISTENCY], what=what),
    )


def check_members(members: Mapping[str, bytes], statement: Statement) -> None:
    """Policy, lock and manifest are the ones that the statement names, and measurements hold no text.

    Raises:
        BadInput: one is not, or does.
    """
    evidence = statement.evidence
    if sha256_bytes(members[POLICY]) != evidence.policy_digest:
        raise BadInput(f"evidence: {POLICY} is not the policy that the statement names")
    if sha256_bytes(members[ENVIRONMENT]) != evidence.code.lock_digest:
        raise BadInput(f"evidence: {ENVIRONMENT} is not the lock that the statement names")
    if MANIFEST in members:
        named = None if evidence.candidate is None else evidence.candidate.digest
        if sha256_bytes(members[MANIFEST]) != named:
            raise BadInput(f"evidence: {MANIFEST} is not the manifest of the statement's candidate")
    for name, content in members.items():
        if name.startswith(MEASUREMENTS):
            _check_textless(parse_canonical(content, what=f"evidence: {name}"), what=f"evidence: {name}")


@dataclass(frozen=True)
class Index:
    """What the evaluator signs about an archive."""

    digests: Mapping[str, str]
    statement: str
    made: datetime


def parse_index(payload: bytes) -> Index:
    """Read the signed index of an archive.

    Raises:
        BadInput: anything that `write_evidence` would not have signed.
    """
    top = fields.record(
        parse_canonical(payload, what="evidence"), ("_type", "subject", "predicateType", "predicate"), what="evidence"
    )
    if top["_type"] != STATEMENT_TYPE or top["predicateType"] != EVIDENCE:
        raise BadInput(f"evidence: unknown type; known: {STATEMENT_TYPE} with {EVIDENCE}")
    predicate = fields.record(top["predicate"], ("statement", "made"), what="evidence: predicate")
    return Index(
        digests=_subjects(top["subject"]),
        statement=fields.sha256(predicate["statement"], what="evidence: statement"),
        made=parse_instant(predicate["made"], what="evidence: made"),
    )


def _members(enclosure: Enclosure, bundle: Bundle, *, log: AuditLog) -> dict[str, bytes]:
    note = log.checkpoint_over(bundle.log.size)
    head = parse_cosigned(note).head
    if head.size < bundle.log.size:
        raise BadInput(f"evidence: the log's signed head has {head.size} entries, the certificate {bundle.log.size}")
    proof: list[Json] = [sibling.hex() for sibling in log.consistency_proof(bundle.log.size, size=head.size)]
    members = {
        CERTIFICATE: enclosure.certificate,
        CHECKPOINT: note,
        CONSISTENCY: canonical({"proof": proof}),
        POLICY: enclosure.policy,
        ENVIRONMENT: enclosure.environment,
    }
    if enclosure.manifest is not None:
        members[MANIFEST] = canonical(dict(enclosure.manifest))
    members |= {MEASUREMENTS + name: content for name, content in enclosure.measurements.items()}
    return members | {EXPORTS + name: content for name, content in enclosure.exports.items()}


def _index(members: Mapping[str, bytes], *, statement: str, made: datetime) -> bytes:
    subject: list[Json] = [
        {"name": name, "digest": {"sha256": sha256_bytes(members[name])}} for name in sorted(members)
    ]
    predicate: dict[str, Json] = {"statement": statement, "made": format_instant(made)}
    return canonical({"_type": STATEMENT_TYPE, "subject": subject, "predicateType": EVIDENCE, "predicate": predicate})


def _subjects(value: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in fields.items(value, what="evidence: subject"):
        subject = fields.record(item, ("name", "digest"), what="evidence: subject")
        named = fields.record(subject["digest"], ("sha256",), what="evidence: subject: digest")
        name = fields.code(subject["name"], what="evidence: subject: name")
        if name in found:
            raise BadInput("evidence: a member is named twice")
        found[name] = fields.sha256(named["sha256"], what="evidence: subject: digest")
    return found


def _read_proof(data: bytes, *, what: str) -> tuple[bytes, ...]:
    top = fields.record(parse_canonical(data, what=f"{what}: {CONSISTENCY}"), ("proof",), what=what)
    siblings = fields.items(top["proof"], what=f"{what}: proof")
    if len(siblings) > _MAX_PROOF:
        raise BadInput(f"{what}: a proof has at most {_MAX_PROOF} hashes")
    return tuple(bytes.fromhex(fields.sha256(sibling, what=f"{what}: proof")) for sibling in siblings)


def _check_textless(value: Json, *, what: str) -> None:
    """Digests, names and numbers; a blank makes a sentence possible, and no sentence belongs here."""
    if isinstance(value, str):
        fields.code(value, what=what)
    elif isinstance(value, list):
        for item in value:
            _check_textless(item, what=what)
    elif isinstance(value, dict):
        for name, item in value.items():
            fields.code(name, what=what)
            _check_textless(item, what=what)

"""Shows an approver what is to be decided, and signs what was shown.

Promises: nothing is shown whose certificate does not verify; what is signed is the digest of the very page that was
shown, bound to one candidate, for one use, for some days; who asked cannot approve under the same name. The name and
the request's words are read in the vault and stay there: not a Prefect task, because nothing of this may travel.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex

from pipelines.audit.approval import LONGEST, Page, page_of
from pipelines.audit.canonical import canonical, keyed_digest, parse_strict, sha256_bytes
from pipelines.audit.champion import Sources, check_certified
from pipelines.audit.dsse import IN_TOTO, sign
from pipelines.audit.encoding import write_atomic
from pipelines.audit.keys import Keyring, ensure_keyring, load_private_key
from pipelines.audit.log import AuditLog
from pipelines.audit.promotions import APPROVAL, ROLLBACK, read_facts
from pipelines.audit.records import Approval
from pipelines.audit.signatures import key_id, public_bytes
from pipelines.audit.statement import build_approval
from pipelines.audit.trust import Trust
from pipelines.config import validated
from pipelines.errors import BadInput, Refused
from pipelines.home import Home
from pipelines.records import RequestFile
from tasks.model_registry import CERTIFICATE
from tasks.workspace import ORIGIN

ROOM = "approvals"
"""Folder under the home: approvals outlive the runs that they are about."""


@dataclass(frozen=True, slots=True)
class Consent:
    """An approval that was signed: its file and what the log knows it by."""

    path: Path
    digest: str
    approver: str
    expires: datetime


def sources_of(home: Home) -> Sources:
    """What versions are checked against here: the trust file, the log and the approvals of this home folder.

    Raises:
        BadInput: there is no trust file, or it cannot be read.
    """
    return Sources(trust=Trust.load(Keyring(home.root / "keys").trust), log=home.log, approvals=home.room(ROOM))


def certificate_of(home: Home, request_id: str) -> Path:
    """Where the certificate of a request lies.

    Raises:
        BadInput: the request has none.
    """
    path = home.root / "runs" / request_id / "certify" / CERTIFICATE
    if not path.is_file():
        raise BadInput(f"request {request_id}: no certificate under {home.root}; run it to its end")
    return path


def page_for(home: Home, request_id: str, *, now: datetime) -> Page:
    """What an approver of this request's candidate has to look at.

    Raises:
        BadInput: no such request, or it did not end registered.
        VerificationFailed: its certificate does not check out, or its model folder is not the one certified.
    """
    certificate = certificate_of(home, request_id)
    model = certificate.parent.parent / "unlearn" / "model"
    payload = check_certified(certificate, model=model, sources=sources_of(home), now=now)
    page = page_of(read_facts(home.log), payload=payload)
    if page.request != request_id:
        raise BadInput(f"request {request_id}: its certificate is of request {page.request}")
    return page


def approver_key(home: Home, *, now: datetime) -> Path:
    """The approver's key of this home folder, made on first use."""
    return ensure_keyring(home.keys, origin=ORIGIN, now=now, roles=("approver",)).private("approver")


def approve(home: Home, page: Page, *, key: Path, name: str, lasts: timedelta, now: datetime) -> Consent:
    """Sign that this page was seen and its version may become champion; log the approval's digest.

    Args:
        home: where the approval is kept.
        page: as it was shown.
        key: private key of an approver.
        name: who approves; compared with who asked, and kept as a keyed digest only.
        lasts: for how long the approval may be used.
        now: the present time.

    Raises:
        BadInput: the key is not a trusted approver's, or the time is out of range.
        Refused: the requester approves, or it cannot be known any more who asked.
    """
    if not timedelta(0) < lasts <= LONGEST:
        raise BadInput(f"an approval is valid for up to {LONGEST.days} days, not {lasts}")
    private = load_private_key(key)
    approver = key_id(public_bytes(private))
    if approver not in sources_of(home).trust.find("approver", at=now):
        raise BadInput(f"{key}: not the key of an approver that the trust file names")
    evidence = page.statement.evidence
    approval = Approval(
        request=evidence.request,
        candidate_digest=page.candidate,
        forget_digest=evidence.forget.digest,
        evidence_digest=page.digest,
        nonce=token_hex(32),
        requester_commitment=page.requester,
        approver_commitment=_approver(home, page, name),
        issued=now,
        expires=now + lasts,
    )
    payload = build_approval(approval)
    digest, path = sha256_bytes(payload), home.room(ROOM) / f"{sha256_bytes(payload)}.json"
    write_atomic(path, canonical(sign(payload, payload_type=IN_TOTO, private_key=private)))
    entry = {"kind": APPROVAL, "request": page.request, "statement": digest, "approver": approver}
    AuditLog(home.log, origin=ORIGIN).append_once(entry, now=now)
    return Consent(path=path, digest=digest, approver=approver, expires=approval.expires)


def _approver(home: Home, page: Page, name: str) -> str | None:
    """Who approves, under the request's salt; None where salt and requester are purged and a rollback is approved."""
    vault = home.root / "vault" / page.request
    asked = vault / "steps" / "data" / "request.json"
    if not (vault / "salt").is_file() or not asked.is_file():
        if page.action == ROLLBACK:
            return None
        raise Refused(
            f"request {page.request}: its vault is gone, so that nobody can tell whether the approver asked for it; "
            "a version is promoted before its request is purged"
        )
    request = validated(RequestFile, parse_strict(asked.read_bytes(), what="request"), where="the request in the vault")
    if not _words(name):
        raise BadInput("name: say who approves")
    if _words(name) <= _words(request.requester) or _words(request.requester) <= _words(name):
        raise Refused(f"request {page.request}: who asked for the erasure cannot approve it")
    return keyed_digest((vault / "salt").read_bytes(), canonical(name))


def _words(name: str) -> frozenset[str]:
    """A name in parts that can be compared: addresses whole, words without case."""
    return frozenset(re.findall(r"[\w.+-]+@[\w.-]+|\w+", name.casefold()))

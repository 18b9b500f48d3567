"""The verifier: everything that can be checked about a certificate offline, and the list of what cannot.

Promises: a report is good only if every required check was made and passed; a check that could not be made says so;
anything that is named and missing has failed. It needs the certificate or an evidence archive, a trust file that came
from a person, and, for the full answer, the log and model folders. It computes no measurement again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.audit.archive import MAX_ARCHIVE
from pipelines.audit.bundle import Bundle, parse_bundle
from pipelines.audit.canonical import MAX_BYTES, sha256_bytes
from pipelines.audit.case import Case, NotChecked
from pipelines.audit.checkpoint import Checkpoint, parse_checkpoint
from pipelines.audit.controls import CONTROLS
from pipelines.audit.dsse import verify_signatures
from pipelines.audit.evidence import CERTIFICATE, Evidence, open_evidence
from pipelines.audit.logview import LogView, read_log
from pipelines.audit.report import FAILED, NOT_CHECKED, PASSED, Check, Report
from pipelines.audit.signatures import implementation
from pipelines.audit.statement import parse_statement
from pipelines.audit.trust import Trust
from pipelines.errors import BadInput, LetheError


def verify_certificate(
    path: Path,
    *,
    trust: Trust,
    now: datetime,
    log_dir: Path | None = None,
    model_dir: Path | None = None,
    kept_checkpoint: Path | None = None,
) -> Report:
    """Check a certificate file or an evidence archive.

    Args:
        path: the file.
        trust: whose signatures count.
        now: the present time; a statement from the future is refused.
        log_dir: the log's folder, instead of the one that the certificate names. An archive names none.
        model_dir: the candidate's folder, likewise.
        kept_checkpoint: a checkpoint of this log that the auditor kept from an earlier day.

    Raises:
        BadInput: the file or the kept checkpoint cannot be read at all. Everything else is in the report.
    """
    data = _read(path, limit=MAX_ARCHIVE)
    kept = (
        None
        if kept_checkpoint is None
        else parse_checkpoint(_read(kept_checkpoint), what=str(kept_checkpoint)).checkpoint
    )
    opened: dict[str, str] = {}
    archived = not data.startswith(b"{")
    try:
        evidence = _opened_archive(data, trust=trust, what=path.name, opened=opened) if archived else None
        bundle = parse_bundle(evidence.members[CERTIFICATE] if evidence else data, what=path.name)
        opened["file"] = "canonical, every field known"
        signed = verify_signatures(bundle.envelope, keys=trust.find("evaluator"))
        signers = ", ".join(key.key_id[:16] for key in signed.keys)
        opened["signature"] = f"by the evaluator key {signers}, checked by {implementation()}"
        statement = parse_statement(signed.payload)
        opened["statement"] = f"a {statement.kind}, schema v1"
    except LetheError as error:
        return _unopened(opened, str(error), archived=archived)
    places = _places(None if archived else path.parent, bundle, log_dir=log_dir, model_dir=model_dir)
    log, missing = _log_view(places.log, bundle, kept, statement=sha256_bytes(signed.payload))
    case = Case(
        bundle, signed, statement, trust, now,
        log=log, log_missing=missing, kept=kept, model=places.model, evidence=evidence,
    )  # fmt: skip
    checks = [Check(name, PASSED, detail) for name, detail in opened.items()]
    checks += [_run(name, control, case) for name, control in CONTROLS.items()]
    return Report(checks=tuple(checks), kind=statement.kind, statement_digest=case.digest)


@dataclass(frozen=True)
class _Places:
    log: Path | None
    model: Path | None


def _opened_archive(data: bytes, *, trust: Trust, what: str, opened: dict[str, str]) -> Evidence:
    evidence = open_evidence(data, trust=trust, what=what)
    opened["archive"] = f"{len(evidence.members)} members, each as the evaluator's signed index names it"
    return evidence


def _places(start: Path | None, bundle: Bundle, *, log_dir: Path | None, model_dir: Path | None) -> _Places:
    """Locations are relative to the certificate file; one in an archive has no folder beside it."""
    if start is None:
        return _Places(log_dir, model_dir)
    named_log, named_model = bundle.locations.log, bundle.locations.model
    return _Places(
        log=log_dir or (None if named_log is None else start / named_log),
        model=model_dir or (None if named_model is None else start / named_model),
    )


def _log_view(
    folder: Path | None, bundle: Bundle, kept: Checkpoint | None, *, statement: str
) -> tuple[LogView | None, str]:
    """The log folder, or why there is none to look at."""
    if folder is None:
        return None, ""
    try:
        sizes = {bundle.log.size} | ({kept.size} if kept else set())
        return read_log(folder, sizes=sizes, statement=statement), ""
    except LetheError as error:
        return None, str(error)


def _run(name: str, control: Callable[[Case], str], case: Case) -> Check:
    try:
        return Check(name, PASSED, control(case))
    except NotChecked as reason:
        return Check(name, NOT_CHECKED, str(reason))
    except LetheError as error:
        return Check(name, FAILED, str(error))
    except OSError as error:
        return Check(name, FAILED, f"cannot be read: {error.strerror}")


def _unopened(opened: Mapping[str, str], reason: str, *, archived: bool) -> Report:
    """The report on a file that could not be opened: the step that failed, and nothing made of what is inside."""
    checks = [Check(name, PASSED, detail) for name, detail in opened.items()]
    steps = (*(("archive",) if archived else ()), "file", "signature", "statement")
    checks.append(Check(steps[len(opened)], FAILED, reason))
    rest = (*steps[len(opened) + 1 :], *CONTROLS)
    checks += [Check(name, NOT_CHECKED, "an earlier check failed") for name in rest]
    return Report(checks=tuple(checks))


def _read(path: Path, *, limit: int = MAX_BYTES) -> bytes:
    try:
        with path.open("rb") as stream:
            # One byte more than the parser reads, so that a longer file is refused and not cut.
            return stream.read(limit + 1)
    except OSError as error:
        reason = error.strerror
    raise BadInput(f"{path}: cannot be read: {reason}")

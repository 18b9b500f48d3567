"""What the verifier's controls look at: a certificate whose signature is good, and all that was given beside it.

Promises: what was given and what is missing can be told apart. It judges nothing: that is `controls.py`.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.audit.bundle import Bundle
from pipelines.audit.canonical import sha256_bytes
from pipelines.audit.checkpoint import Checkpoint, parse_checkpoint
from pipelines.audit.dsse import Signed
from pipelines.audit.evidence import Evidence
from pipelines.audit.logview import LogView
from pipelines.audit.merkle import verify_consistency
from pipelines.audit.statement import Statement
from pipelines.audit.trust import Trust
from pipelines.errors import VerificationFailed


@dataclass(frozen=True)
class Case:
    """A certificate whose signature is good, and what it is checked against.

    Attributes:
        evidence: the archive that it came in, if it came in one.
    """

    bundle: Bundle
    signed: Signed
    statement: Statement
    trust: Trust
    now: datetime
    log: LogView | None
    log_missing: str
    kept: Checkpoint | None
    model: Path | None
    evidence: Evidence | None = None

    @property
    def issued(self) -> datetime:
        """When the statement says that it was signed."""
        return self.statement.evidence.issued

    @property
    def digest(self) -> str:
        """What the log knows the statement by."""
        return sha256_bytes(self.signed.payload)


class NotChecked(Exception):
    """Raised by a control that has nothing to look at; carries why."""


def log_of(case: Case) -> LogView:
    """The log folder.

    Raises:
        NotChecked: none was given or named.
        VerificationFailed: one was, and it cannot be read.
    """
    if case.log is not None:
        return case.log
    if case.log_missing:
        raise VerificationFailed(case.log_missing)
    raise NotChecked("no log folder was given or named")


def claimed_of(case: Case) -> Checkpoint:
    """The head that the certificate carries; `check_log_signature` says whether it may be believed."""
    return parse_checkpoint(case.bundle.log.checkpoint, what="certificate: checkpoint").checkpoint


def extends(case: Case, head: Checkpoint) -> bool:
    """Whether a head is shown, by the archive's proof or by the lines themselves, to extend the certificate's."""
    claimed = claimed_of(case)
    if case.evidence is not None and head == case.evidence.checkpoint.head:
        return head.origin == claimed.origin and verify_consistency(
            old_size=claimed.size, old_head=claimed.root, size=head.size, head=head.root, proof=case.evidence.proof
        )
    roots = {} if case.log is None else case.log.roots
    return (
        head.origin == claimed.origin
        and head.size >= claimed.size
        and roots.get(head.size) == head.root
        and roots.get(claimed.size) == claimed.root
    )

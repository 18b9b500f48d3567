"""What a witness does: looks at a log's head, holds it against the one it saw last, and cosigns it or refuses.

Promises: no head is cosigned that does not extend every head this witness cosigned before; what was seen is on disk
before the cosignature exists, so that a kill cannot make the witness forget. The first look takes the log as it is. A
witness vouches for the log's history, never for what its lines say.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.audit.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from pipelines.audit.cosignature import cosign, parse_cosigned
from pipelines.audit.encoding import write_atomic
from pipelines.audit.log import CHECKPOINT, WITNESSED, AuditLog
from pipelines.audit.merkle import EMPTY_ROOT, verify_consistency
from pipelines.audit.trust import Trust
from pipelines.errors import BadInput, VerificationFailed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Witnessed:
    """What a witness saw: the head that it cosigned, and the size that it had seen before (0 at the first look)."""

    head: Checkpoint
    before: int


def witness(
    directory: Path, *, private_key: "Ed25519PrivateKey", name: str, seen: Path, trust: Trust, now: datetime
) -> Witnessed:
    """Check a log's latest head against the last one seen, cosign it, and leave the cosigned note in the log folder.

    Args:
        directory: the log's folder.
        private_key: the witness's.
        name: of the witness, as it shows in the cosignature.
        seen: the witness's own file: the note that it saw last. Kept where the log's operator cannot write.
        trust: names the logs and their keys.
        now: when it looks.

    Raises:
        VerificationFailed: the head is not signed by a trusted log key, is not the head of the lines, or does not
            extend what was seen.
        BadInput: a file cannot be read.
    """
    note = _read(directory / CHECKPOINT)
    head = open_checkpoint(note, trust=trust, at=now)
    log, last = AuditLog(directory, head.origin), _last_seen(seen, head.origin)
    if head.size < last.size:
        raise VerificationFailed(f"{directory}: {head.size} entries are signed, but {last.size} were seen before")
    if _of_lines(log.root, head.size) != head.root:
        raise VerificationFailed(f"{directory}: its lines do not hash to the signed head of {head.size} entries")
    proof = log.consistency_proof(last.size, size=head.size)
    if not verify_consistency(old_size=last.size, old_head=last.root, size=head.size, head=head.root, proof=proof):
        raise VerificationFailed(f"{directory}: does not extend the {last.size} entries that were seen before")
    write_atomic(seen, note)
    with log.locked():
        path = directory / WITNESSED
        # Other witnesses' lines stay as long as they are about the same head.
        others = path.read_bytes() if path.exists() else note
        same = parse_cosigned(others, what=str(path)).note == note
        write_atomic(path, cosign(others if same else note, name=name, private_key=private_key, now=now))
    return Witnessed(head, last.size)


def _of_lines(root: Callable[[int], bytes], size: int) -> bytes | None:
    """The root of the lines; None where there are too few of them."""
    try:
        return root(size)
    except BadInput:
        return None


def _last_seen(path: Path, origin: str) -> Checkpoint:
    if not path.exists():
        return Checkpoint(origin, 0, EMPTY_ROOT)
    last = parse_checkpoint(_read(path), what=str(path)).checkpoint
    if last.origin != origin:
        raise VerificationFailed(f"{path}: of another log than {origin}; a witness keeps one file per log")
    return last


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror
    raise BadInput(f"{path}: cannot be read: {reason}")

"""What the audit log says about versions: which were registered, promoted and put back, and which is champion.

Promises: `read_signed` returns lines only if all of them hash to a head that a trusted log key signed; an approval's
nonce is spent by the first intent that names it, and an intent that names it again counts for nothing; a promotion
without an outcome is open, not done. Whether an approval allowed a promotion is `approval.py`'s question.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from pipelines.audit import fields
from pipelines.audit.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from pipelines.audit.entries import Line, Scalar, parse_line, raw_lines
from pipelines.audit.log import CHECKPOINT
from pipelines.audit.merkle import Frontier, leaf_hash
from pipelines.audit.trust import Trust
from pipelines.errors import BadInput, VerificationFailed

REQUEST, REGISTERED, APPROVAL = "request", "registered", "approval"
INTENT, OUTCOME = "promotion_intent", "promotion_outcome"
WATCH = "watch"
PROMOTE, ROLLBACK = "promote", "rollback"
_KINDS = (REQUEST, REGISTERED, APPROVAL, INTENT, OUTCOME, WATCH)
_NEEDLES = tuple(b'"kind":"%b"' % kind.encode() for kind in _KINDS)


@dataclass(frozen=True)
class Intent:
    """What was to be done, as it was logged before anything moved.

    Attributes:
        action: `promote` or `rollback`.
        request: id of the request whose candidate is meant.
        model: name in the registry.
        version: that becomes champion.
        replaces: version that was champion until then; None where there was none.
        candidate: digest of the version's model folder.
        certificate: digest of the certificate's statement.
        approval: digest of the approval's statement.
        nonce: of the approval, spent by this entry.
        reason: short code; None for a promotion.
    """

    action: str
    request: str
    model: str
    version: str
    replaces: str | None
    candidate: str
    certificate: str
    approval: str
    nonce: str
    reason: str | None = None

    def entry(self) -> dict[str, Scalar]:
        """As it stands in the log."""
        return {"kind": INTENT, **vars(self)}


@dataclass(frozen=True)
class Promotion:
    """An intent, where and when it was logged, and what became of it: True done, False not done, None open."""

    intent: Intent
    index: int
    time: datetime
    done: bool | None = None


@dataclass(frozen=True)
class Facts:
    """What the log's lines say, in their order; later lines about the same thing come later.

    Attributes:
        lines: those that it was read from.
        promotions: every intent whose nonce was new, with its outcome.
        replayed: indices of intents that named a spent nonce.
    """

    lines: tuple[Line, ...]
    promotions: tuple[Promotion, ...]
    replayed: tuple[int, ...]

    @property
    def spent(self) -> frozenset[str]:
        """Nonces that were used."""
        return frozenset(promotion.intent.nonce for promotion in self.promotions)

    @property
    def open(self) -> tuple[Promotion, ...]:
        """Promotions that were begun and never concluded."""
        return tuple(promotion for promotion in self.promotions if promotion.done is None)

    def reigns(self, model: str) -> tuple[Promotion, ...]:
        """Every promotion of the model that was done; the last is the champion's."""
        return tuple(p for p in self.promotions if p.done and p.intent.model == model)

    def champion(self, model: str) -> Promotion | None:
        """The promotion that made the present champion."""
        return next(reversed(self.reigns(model)), None)

    def last(self, kind: str, **wanted: Scalar) -> Mapping[str, Scalar] | None:
        """The latest entry of a kind with these values."""
        found = (line.entry for line in reversed(self.lines) if line.entry["kind"] == kind)
        return next((entry for entry in found if wanted.items() <= entry.items()), None)

    def before(self, index: int) -> "Facts":
        """What the log said before its line of that index."""
        return facts_of(line for line in self.lines if line.index < index)


def outcome_entry(intent: Intent, *, done: bool, because: str | None = None) -> dict[str, Scalar]:
    """The log entry that concludes an intent."""
    names = ("action", "request", "model", "version", "nonce")
    return {"kind": OUTCOME, **{name: vars(intent)[name] for name in names}, "done": done, "because": because}


def facts_of(lines: Iterable[Line]) -> Facts:
    """Read a log's lines; those of other kinds are passed over.

    Raises:
        VerificationFailed: an intent or an outcome that this module would not have written.
    """
    kept = tuple(line for line in lines if line.entry["kind"] in _KINDS)
    found: dict[str, Promotion] = {}
    replayed = []
    try:
        for line in kept:
            if line.entry["kind"] == INTENT:
                intent = _intent(line)
                if intent.nonce in found:
                    replayed.append(line.index)
                else:
                    found[intent.nonce] = Promotion(intent, line.index, line.time)
            elif line.entry["kind"] == OUTCOME:
                _conclude(found, line)
    except BadInput as error:
        reason = str(error)
    else:
        return Facts(kept, tuple(found.values()), tuple(replayed))
    raise VerificationFailed(reason)


def read_facts(directory: Path) -> Facts:
    """What a log says now, signed or not: for showing, never for deciding.

    Raises:
        BadInput: no such log, or a line that is no log line.
        VerificationFailed: as `facts_of`.
    """
    raw = enumerate(raw_lines(directory))
    wanted = ((index, line) for index, line in raw if any(needle in line for needle in _NEEDLES))
    return facts_of(parse_line(line, index=index, what=f"{directory}: line {index}") for index, line in wanted)


def read_signed(directory: Path, *, trust: Trust, kept: Checkpoint | None = None) -> Facts:
    """What a log says under its signed head.

    Args:
        directory: holds entries.jsonl and checkpoint.
        trust: whose signature on the head counts.
        kept: a checkpoint that was kept elsewhere; the log must extend it.

    Raises:
        VerificationFailed: the lines are not those that were signed, do not extend the kept checkpoint, or the head was
            not signed by a trusted key.
        BadInput: a file is missing, or a line is no log line.
    """
    note = _note(directory / CHECKPOINT)
    claimed = parse_checkpoint(note, what=str(directory / CHECKPOINT)).checkpoint
    tree, roots, lines, last = Frontier(), {0: Frontier().root()}, [], None
    for index, raw in enumerate(islice(raw_lines(directory), claimed.size)):
        tree = tree.append(leaf_hash(raw))
        # One pass: what is read is what was hashed, whoever writes to the file meanwhile.
        if tree.size == claimed.size or any(needle in raw for needle in _NEEDLES):
            last = parse_line(raw, index=index, what=f"{directory}: line {index}")
            lines.append(last)
        if kept and tree.size == kept.size:
            roots[kept.size] = tree.root()
    if last is None or (tree.size, tree.root()) != (claimed.size, claimed.root):
        raise VerificationFailed(f"{directory}: its lines do not hash to its signed head of {claimed.size} entries")
    head = open_checkpoint(note, trust=trust, at=last.time)
    if kept and (kept.origin != head.origin or roots.get(kept.size) != kept.root):
        raise VerificationFailed(
            f"{directory}: not an extension of the {kept.size} entries whose checkpoint the model registry kept"
        )
    return facts_of(lines)


def _note(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror
    raise BadInput(f"{path}: the checkpoint cannot be read: {reason}")


def _intent(line: Line) -> Intent:
    what = f"log line {line.index}"
    names = ("action", "request", "model", "version")
    digests = ("candidate", "certificate", "approval", "nonce")
    top = fields.record(line.entry, ("kind", *names, *digests, "replaces", "reason"), what=what)
    codes = {name: fields.code(top[name], what=f"{what}: {name}") for name in names}
    hashes = {name: fields.sha256(top[name], what=f"{what}: {name}") for name in digests}
    if codes["action"] not in {PROMOTE, ROLLBACK}:
        raise BadInput(f"{what}: unknown action; known: {PROMOTE}, {ROLLBACK}")
    optional = {
        name: None if top[name] is None else fields.code(top[name], what=f"{what}: {name}")
        for name in ("replaces", "reason")
    }
    return Intent(**codes, **hashes, replaces=optional["replaces"], reason=optional["reason"])


def _conclude(found: dict[str, Promotion], line: Line) -> None:
    """The first outcome counts; one without an intent concludes nothing."""
    what = f"log line {line.index}"
    nonce = fields.sha256(line.entry.get("nonce"), what=f"{what}: nonce")
    done = fields.flag(line.entry.get("done"), what=f"{what}: done")
    promotion = found.get(nonce)
    if promotion is not None and promotion.done is None:
        found[nonce] = replace(promotion, done=done)

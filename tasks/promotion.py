"""Moves the alias ``champion``: log the intent, move the alias, log the outcome; settle first what was interrupted.

Promises: nothing moves before its intent is under a signed head of the log; one approval moves one version once; an
interrupted promotion is either finished, after every check again, or logged as not done. What the registry shows is
compared with the log, never the other way round. It does not look after promoted versions: :mod:`tasks.drift` does.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.audit.approval import Case, Page, check_approval, page_of
from pipelines.audit.champion import check_certified, check_promotion, load_approval, statement_in
from pipelines.audit.checkpoint import parse_checkpoint
from pipelines.audit.encoding import write_atomic
from pipelines.audit.keys import Keyring, load_private_key
from pipelines.audit.log import AuditLog
from pipelines.audit.promotions import (
    APPROVAL,
    PROMOTE,
    Facts,
    Intent,
    Promotion,
    outcome_entry,
    read_facts,
    read_signed,
)
from pipelines.errors import BadInput, LetheError, Refused, Unavailable, VerificationFailed
from pipelines.home import Home
from pipelines.records import Digest, Record, RequestId
from tasks.approval import ROOM, certificate_of, sources_of
from tasks.model_registry import CHAMPION, PREVIOUS, ModelRegistry
from tasks.workspace import ORIGIN

LOCK = "promotion.lock"
ALIAS_MOVED, CHECK_FAILED = "alias_moved", "check_failed"


class Promoted(Record):
    """What became of a request to promote or to put back.

    Attributes:
        changed: False where the version was the champion already.
    """

    action: str
    request_id: RequestId
    model: str
    version: str
    replaces: str | None
    candidate: Digest
    changed: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants: whose candidate, which action, by which approval, why."""

    request: str
    action: str = PROMOTE
    approval: Path | None = None
    reason: str | None = None


@contextmanager
def one_promoter(home: Home) -> Iterator[None]:
    """Hold the promotions of this home for this process; released by the system, however the process ends.

    Raises:
        BadInput: another process holds them.
    """
    descriptor = os.open(home.room(ROOM) / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy = True
        else:
            busy = False
        if busy:
            raise BadInput("another promotion is under way here; wait for it to end")
        yield
    finally:
        os.close(descriptor)


def sign_log(home: Home) -> bytes:
    """Sign the log's present head; returns the checkpoint.

    Raises:
        VerificationFailed: the log does not begin with what was signed before.
    """
    return _log(home).checkpoint(load_private_key(Keyring(home.keys).private("log")))


def facts_under(home: Home, registry: ModelRegistry, model: str) -> Facts:
    """What the signed log says, if it extends the checkpoint that the registry kept at the model's last promotion.

    Raises:
        VerificationFailed: it does not, or its lines are not those that were signed.
    """
    note = registry.kept(model)
    try:
        kept = None if note is None else parse_checkpoint(note, what=f"{model}: the kept checkpoint").checkpoint
    except BadInput as error:
        reason = str(error)
    else:
        return read_signed(home.log, trust=sources_of(home).trust, kept=kept)
    raise VerificationFailed(reason)


def settle(home: Home, registry: ModelRegistry, *, now: datetime) -> tuple[str, ...]:
    """Finish every promotion that was begun and not concluded, or log that it was not done.

    Returns:
        One line for each.

    Raises:
        VerificationFailed: the log is not what was signed.
    """
    sign_log(home)
    waiting = read_signed(home.log, trust=sources_of(home).trust).open
    return tuple(_settled(home, registry, promotion, now=now) for promotion in waiting)


def _settled(home: Home, registry: ModelRegistry, promotion: Promotion, *, now: datetime) -> str:
    intent, because = promotion.intent, None
    present = registry.alias(intent.model, CHAMPION)
    if present not in {intent.version, intent.replaces}:
        because = ALIAS_MOVED
    elif not _still_holds(home, registry, promotion, now=now):
        because = CHECK_FAILED
    else:
        move_alias(home, registry, intent)
    log_outcome(home, intent, now=now, because=because)
    end = "finished" if because is None else f"not done ({because})"
    return f"{intent.model} version {intent.version}: {intent.action} was interrupted; now {end}"


def _still_holds(home: Home, registry: ModelRegistry, promotion: Promotion, *, now: datetime) -> bool:
    """Whether certificate and stored bytes check out now, and the approval did when the intent was logged."""
    intent = promotion.intent
    try:
        facts = facts_under(home, registry, intent.model)
        payload = certified_in(home, registry, intent.model, intent.version, now=now)
        check_promotion(promotion, payload=payload, facts=facts, sources=sources_of(home))
    except Unavailable:
        raise
    except LetheError:
        return False
    return True


def certified_in(home: Home, registry: ModelRegistry, model: str, version: str, *, now: datetime) -> bytes:
    """The statement that certifies a version, checked against every byte that the registry stores of it.

    Raises:
        VerificationFailed: the registry holds something else, or the certificate does not stand.
    """
    with tempfile.TemporaryDirectory(dir=home.cache) as scratch:
        stored = registry.fetch(model, version, into=Path(scratch))
        return check_certified(stored.certificate, model=stored.folder, sources=sources_of(home), now=now)


def plan(home: Home, registry: ModelRegistry, wish: Wish, *, now: datetime) -> Promoted | Intent:
    """Check everything that a promotion stands on.

    Returns:
        The intent to log, or, where the version is the champion already, that.

    Raises:
        Refused: there is no approval, or the version takes the other verb.
        VerificationFailed: certificate, stored bytes, approval, log or alias do not check out.
        BadInput: no such request, or the approval cannot be read.
    """
    sign_log(home)
    payload = statement_in(certificate_of(home, wish.request))
    sources = sources_of(home)
    page = page_of(read_signed(home.log, trust=sources.trust), payload=payload)
    facts = facts_under(home, registry, page.model)
    if certified_in(home, registry, page.model, page.version, now=now) != payload:
        raise VerificationFailed(f"{page.model} version {page.version}: stored with another certificate than the run's")
    _check_alias(facts, registry, page.model)
    champion = facts.champion(page.model)
    if champion and champion.intent.certificate == page.certificate:
        return _promoted(champion.intent, changed=False)
    if page.action != wish.action:
        verb = "lethe promote" if page.action == PROMOTE else "lethe rollback"
        raise Refused(
            f"{page.model} version {page.version}: this takes {verb}: versions are put back only where they were"
        )
    approval = wish.approval or _latest_approval(home, facts, page)
    approved = load_approval(approval, trust=sources.trust)
    check_approval(Case(approved, page, facts.spent, now))
    if wish.approval:  # signed elsewhere: kept here, for whoever checks the promotion later
        write_atomic(sources.approvals / f"{approved.digest}.json", wish.approval.read_bytes())
    return _intent(page, wish, approval=approved.digest, nonce=approved.approval.nonce)


def _intent(page: Page, wish: Wish, *, approval: str, nonce: str) -> Intent:
    return Intent(
        action=wish.action,
        request=page.request,
        model=page.model,
        version=page.version,
        replaces=page.replaces,
        candidate=page.candidate,
        certificate=page.certificate,
        approval=approval,
        nonce=nonce,
        reason=wish.reason,
    )


def _check_alias(facts: Facts, registry: ModelRegistry, model: str) -> None:
    champion, present = facts.champion(model), registry.alias(model, CHAMPION)
    known = champion.intent.version if champion else None
    if present != known:
        raise VerificationFailed(
            f"{model}: alias {CHAMPION} points to {_version(present)}, the log's champion is {_version(known)}; "
            "put the alias back in the registry first"
        )


def _version(version: str | None) -> str:
    return f"version {version}" if version else "no version"


def _latest_approval(home: Home, facts: Facts, page: Page) -> Path:
    found = facts.last(APPROVAL, request=page.request)
    if found is None:
        raise Refused(f"request {page.request}: nobody has approved it; lethe approve {page.request}")
    return home.room(ROOM) / f"{found.get('statement')}.json"


def log_intent(home: Home, intent: Intent, *, now: datetime) -> None:
    """Log what is about to be done, under a signed head."""
    _log(home).append(intent.entry(), now=now)
    sign_log(home)


def move_alias(home: Home, registry: ModelRegistry, intent: Intent) -> None:
    """Point the aliases; again after a kill: the same. The registry keeps the log's head from here on."""
    registry.keep(intent.model, _log(home).checkpoint_path.read_bytes())
    if intent.replaces:
        registry.point(intent.model, PREVIOUS, intent.replaces)
    registry.point(intent.model, CHAMPION, intent.version)


def log_outcome(home: Home, intent: Intent, *, now: datetime, because: str | None = None) -> Promoted:
    """Log how it ended; done unless there is a reason why not."""
    _log(home).append(outcome_entry(intent, done=because is None, because=because), now=now)
    sign_log(home)
    return _promoted(intent, changed=because is None)


def _promoted(intent: Intent, *, changed: bool) -> Promoted:
    return Promoted(
        action=intent.action,
        request_id=intent.request,
        model=intent.model,
        version=intent.version,
        replaces=intent.replaces,
        candidate=intent.candidate,
        changed=changed,
    )


def _log(home: Home) -> AuditLog:
    return AuditLog(home.log, origin=ORIGIN)


def request_of(home: Home, *, model: str | None, version: str | None) -> str:
    """The request whose candidate was champion as this version.

    Args:
        home: has the log.
        model: name in the registry; None where only one model was ever promoted.
        version: of the model; None for the champion before the present one.

    Raises:
        BadInput: there is no such version, or several models to choose from.
    """
    done = [promotion.intent for promotion in read_facts(home.log).promotions if promotion.done]
    models = sorted({intent.model for intent in done})
    if model is None and len(models) > 1:
        raise BadInput(f"several models were promoted; name one of {', '.join(models)}")
    reigns = [intent for intent in done if model in {None, intent.model}]
    wanted = version or (reigns[-1].replaces if reigns else None)
    for intent in reversed(reigns):
        if intent.version == wanted:
            return intent.request
    known = ", ".join(dict.fromkeys(intent.version for intent in reigns)) or "none"
    raise BadInput(f"{model or 'no model'}: version {wanted} was never champion; versions that were: {known}")

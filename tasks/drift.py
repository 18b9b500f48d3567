"""Looks for versions that are not what the log says: moved aliases, altered bytes, approvals that do not hold.

Promises: every alias of every model that the log knows is compared with the log, and every byte behind an alias is
hashed; what was found is logged when it changes, which is the only history that aliases have, for MLflow keeps none. An
alias that was moved and put back between two watches is not seen. It repairs nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pipelines.audit.canonical import digest, sha256_bytes
from pipelines.audit.champion import check_promotion
from pipelines.audit.entries import Scalar
from pipelines.audit.log import AuditLog
from pipelines.audit.promotions import REGISTERED, WATCH, Facts, Promotion, read_signed
from pipelines.errors import LetheError, Unavailable
from pipelines.home import Home
from pipelines.records import Record
from tasks.approval import sources_of
from tasks.model_registry import CHALLENGER, CHAMPION, PREVIOUS, ModelRegistry
from tasks.promotion import certified_in, facts_under, sign_log
from tasks.workspace import ORIGIN

ALIASES = (CHAMPION, PREVIOUS, CHALLENGER)
EVENT = "lethe.model.drift"


class Finding(Record):
    """One difference between a registry and the log."""

    model: str
    what: str
    detail: str


class Watched(Record):
    """What a watch did and found.

    Attributes:
        models: that were looked at.
        settled: interrupted promotions that were concluded first, a line each.
        findings: none where all is as the log says.
    """

    models: tuple[str, ...]
    settled: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Behind:
    """A version, and the alias that points at it."""

    model: str
    version: str
    alias: str

    def finding(self, what: str, detail: str) -> Finding:
        return Finding(model=self.model, what=what, detail=f"version {self.version} ({self.alias}): {detail}")


def look(home: Home, registry: ModelRegistry, *, now: datetime, settled: tuple[str, ...] = ()) -> Watched:
    """Compare the registry with the log.

    Raises:
        VerificationFailed: the log is not what was signed: there is nothing to compare with.
        Unavailable: the registry did not answer.
    """
    facts = read_signed(home.log, trust=sources_of(home).trust)
    models = sorted({str(line.entry.get("model")) for line in facts.lines if line.entry["kind"] == REGISTERED})
    findings: list[Finding] = []
    for model in models:
        found = tuple(_of_model(home, registry, model, facts, now=now))
        _note(home, facts, model, found, now=now)
        findings += found
    return Watched(models=tuple(models), settled=settled, findings=tuple(findings))


def _of_model(home: Home, registry: ModelRegistry, model: str, facts: Facts, *, now: datetime) -> Iterator[Finding]:
    try:
        facts_under(home, registry, model)
    except LetheError as error:
        yield Finding(model=model, what="log", detail=str(error))
    for index in facts.replayed:
        yield Finding(model=model, what="replay", detail=f"log line {index} names an approval that was used before")
    champion = facts.champion(model)
    present = {alias: registry.alias(model, alias) for alias in ALIASES}
    yield from _moved(model, present, champion)
    versions = {version: alias for alias, version in reversed(present.items()) if version}
    for version, alias in sorted(versions.items()):
        reign = champion if champion and (alias, version) == (CHAMPION, champion.intent.version) else None
        yield from _of_version(home, registry, _Behind(model, version, alias), facts, reign, now=now)


def _moved(model: str, present: dict[str, str | None], champion: Promotion | None) -> Iterator[Finding]:
    """Aliases that are not where promotions left them; the challenger's is the registration's to move."""
    known = {
        CHAMPION: champion.intent.version if champion else None,
        PREVIOUS: champion.intent.replaces if champion else None,
    }
    for alias, version in known.items():
        if present[alias] != version:
            where = f"points to {_named(present[alias])}, by the log it is {_named(version)}"
            yield Finding(model=model, what="alias moved", detail=f"alias {alias} {where}")


def _of_version(
    home: Home, registry: ModelRegistry, it: _Behind, facts: Facts, reign: Promotion | None, *, now: datetime
) -> Iterator[Finding]:
    """A version that the log does not know, whose certificate or bytes do not check out, or that nobody approved."""
    registered = facts.last(REGISTERED, model=it.model, version=it.version)
    if registered is None:
        yield it.finding("unknown version", "the log does not know it")
        return
    try:
        payload = certified_in(home, registry, it.model, it.version, now=now)
    except Unavailable:
        raise
    except LetheError as error:
        yield it.finding("altered or revoked", str(error))
        return
    if sha256_bytes(payload) != registered.get("certificate"):
        yield it.finding("other certificate", "the registry stores it with another one than the log names")
    if reign is None:
        return
    try:
        check_promotion(reign, payload=payload, facts=facts, sources=sources_of(home))
    except LetheError as error:
        yield it.finding("approval", str(error))


def _note(home: Home, facts: Facts, model: str, found: tuple[Finding, ...], *, now: datetime) -> None:
    """Log what is found, by count and digest, unless the last watch found the same."""
    named = digest([finding.plain() for finding in found])
    last = facts.last(WATCH, model=model)
    if (last.get("digest") if last else digest([])) != named:
        entry: dict[str, Scalar] = {"kind": WATCH, "model": model, "findings": len(found), "digest": named}
        AuditLog(home.log, origin=ORIGIN).append(entry, now=now)
        sign_log(home)


def _named(version: str | None) -> str:
    return f"version {version}" if version else "none"

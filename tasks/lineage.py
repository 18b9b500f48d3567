"""What earlier requests had removed from the model that a run starts from: found through the audit log, by digests.

A start model that is an earlier request's candidate carries that request's deletion, and those before it. Their rows
must not be taught again and are measured again. They are read from the earlier request's own vault, checked against its
seal, and not copied; a request whose vault was purged cannot be measured again, and the certificate says so.
"""

from dataclasses import dataclass
from pathlib import Path

from pipelines.audit.canonical import canonical, keyed_digest
from pipelines.audit.log import AuditLog
from pipelines.data.rows import Rows
from pipelines.errors import VerificationFailed
from pipelines.home import Home
from pipelines.scoring.table import EARLIER
from tasks.intake import read_rows, taken_in
from tasks.workspace import Workspace

FORGET_FILE = Path("steps") / "sets" / "forget.jsonl"


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier requests had removed.

    Attributes:
        sets: their forget sets by split, the oldest request first.
        purged: how many further requests there were whose rows are erased.
    """

    sets: dict[str, Rows]
    purged: int

    @property
    def digests(self) -> frozenset[str]:
        """Of all their rows."""
        return frozenset(digest for rows in self.sets.values() for digest in rows.digests)

    @property
    def not_measured(self) -> tuple[str, ...]:
        """What a certificate has to say."""
        if not self.purged:
            return ()
        return (f"deletions of {self.purged} earlier requests, whose rows are erased, were not measured again",)


def earlier(ws: Workspace) -> Earlier:
    """What the run's start model has already had removed.

    Raises:
        VerificationFailed: an earlier request's set in the vault is not the one that was sealed.
    """
    names = lineage(ws.log, taken_in(ws).model.digest)
    found = {f"{EARLIER}{i}": _forget_set(ws.home, ws.log, name) for i, name in enumerate(names, start=1)}
    sets = {split: rows for split, rows in found.items() if rows is not None}
    return Earlier(sets=sets, purged=len(found) - len(sets))


def lineage(log: AuditLog, model: str) -> tuple[str, ...]:
    """Requests whose candidates led to a model, the oldest first.

    Args:
        log: of all requests.
        model: digest of the model folder.
    """
    made = {entry["candidate"]: entry for entry in _entries(log) if entry.get("kind") == "candidate"}
    names: list[str] = []
    while model in made and str(made[model]["request"]) not in names:
        names.insert(0, str(made[model]["request"]))
        model = str(made[model]["parent"])
    return tuple(names)


def _entries(log: AuditLog) -> list[dict[str, object]]:
    return [dict(line.entry) for line in log.lines()]


def _forget_set(home: Home, log: AuditLog, request_id: str) -> Rows | None:
    vault = home.root / "vault" / request_id
    rows = read_rows(vault / FORGET_FILE, name=f"forget set of {request_id}")
    if rows is None:
        return None
    seals = [e["forget"] for e in _entries(log) if (e.get("kind"), e.get("request")) == ("seal", request_id)]
    if keyed_digest((vault / "salt").read_bytes(), canonical(sorted(rows.digests))) not in seals:
        raise VerificationFailed(f"request {request_id}: its forget set in the vault is not the one that was sealed")
    return rows

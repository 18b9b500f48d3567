"""Seals the sets before anything is trained: keyed digests, counts and the policy go into the audit log.

From here on, who runs the method cannot change what is to be forgotten, what is to be kept, or the pass marks,
without the log showing it.
"""

from pathlib import Path

from pipelines.data.rows import Rows
from pipelines.records import Record, SealedSet
from tasks.artifacts import show_table
from tasks.scope import set_rows
from tasks.stage import stage
from tasks.workspace import RunContext, Workspace, read_record, write_record


class SealedSets(Record):
    """Both sets, sealed."""

    forget: SealedSet
    retain: SealedSet


@stage("seal")
def seal(run: RunContext) -> SealedSets:
    """Seal the forget and the retain set of this run."""
    ws = Workspace.of(run)
    sealed = SealedSets(forget=seal_of(ws, "forget"), retain=seal_of(ws, "retain"))

    def build(part: Path) -> None:
        write_record(part, "sealed", sealed)
        ws.tell(
            {
                "kind": "seal",
                "forget": sealed.forget.commitment,
                "forget_count": sealed.forget.count,
                "retain": sealed.retain.commitment,
                "retain_count": sealed.retain.count,
                "policy": run.policy.content_digest(),
                "config": run.config.content_digest(),
            }
        )

    ws.step(
        "seal",
        {"sealed": sealed.plain(), "policy": run.policy.content_digest(), "config": run.config.content_digest()},
        build,
    )
    rows = [(kept.role, kept.count, kept.commitment) for kept in (sealed.forget, sealed.retain)]
    show_table("seal", ("set", "rows", "commitment"), rows)
    return sealed


def seal_of(ws: Workspace, role: str) -> SealedSet:
    """The seal of a set as it lies in the vault now."""
    rows: Rows = set_rows(ws, role)
    return SealedSet(
        role="forget" if role == "forget" else "retain", commitment=ws.keyed(sorted(rows.digests)), count=len(rows)
    )


def sealed_sets(ws: Workspace) -> SealedSets:
    """What was sealed."""
    return read_record(ws.folder("seal"), "sealed", SealedSets)

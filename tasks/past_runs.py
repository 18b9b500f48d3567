"""Runs of this home folder as their evaluations tell them, for what follows from several runs. Judges nothing.

Read from the runs' public folders; whether they are what was signed is the verifier's business.
"""

from pathlib import Path

from pipelines.audit.log import AuditLog
from pipelines.errors import BadInput
from pipelines.evaluation.muse import ROLES, PastRun, View, muse_views
from pipelines.home import Home
from pipelines.records import Candidate, Evaluation
from tasks.lineage import lineage
from tasks.workspace import ORIGIN, read_record


def views_of(home: Home, request_id: str) -> tuple[View, ...]:
    """MUSE's six views of a request.

    Raises:
        BadInput: there is no such request, or its candidate was not measured; the message lists those that were.
    """
    runs = sorted(path for path in home.room("runs").iterdir() if _measured(path))
    found = [_past(run) for run in runs]
    own = [run for run in found if run.request_id == request_id]
    if not own:
        known = ", ".join(run.request_id for run in found) or "none"
        raise BadInput(f"no candidate of a request {request_id} was measured under {home.root}; known: {known}")
    candidate = own[0].evaluations["candidate"].model_digest
    chain = lineage(AuditLog(home.log, origin=ORIGIN), candidate)
    return muse_views(own[0], others=found, chain=chain)


def _measured(run: Path) -> bool:
    return (run / "unlearn").is_dir() and (run / "evaluate-candidate").is_dir()


def _past(run: Path) -> PastRun:
    candidate = read_record(run / "unlearn", "candidate", Candidate)
    roles = [role for role in ROLES if (run / f"evaluate-{role}").is_dir()]
    return PastRun(
        request_id=run.name,
        method=f"{candidate.method} {candidate.method_version}",
        parent=candidate.parent_digest,
        evaluations={role: read_record(run / f"evaluate-{role}", "evaluation", Evaluation) for role in roles},
    )

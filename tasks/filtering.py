"""Leaves forget rows out of the push whose removal would change nothing, and says which and why. Off by default."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import VerificationFailed
from pipelines.scope.unneeded import Filtered, twins, unneeded, untrained
from tasks.artifacts import show_table
from tasks.device import device_slot
from tasks.progress import Progress
from tasks.stage import stage
from tasks.workspace import RunContext, Workspace, read_record, write_record

if TYPE_CHECKING:
    from pipelines.unlearning.job import UnlearningJob

STEP = "filter"


@stage("scope: filter", retries=0)
def filter_rows(run: RunContext) -> Filtered | None:
    """Look for rows that need no push, record them, and log how many; None where the filter is off.

    Raises:
        BadInput: no row would be left to push.
    """
    from tasks.unlearning import whole_job

    ws = Workspace.of(run)
    if run.config.scope.filter == "none":
        return None
    found = filtered(ws, whole_job(ws))
    ws.tell({"kind": STEP, "forget": found.n_forget, "skipped": len(found.skipped), "record": ws.outputs(STEP)})
    rows = [(one.row, one.digest, one.twin, one.similarity, one.untrained) for one in found.skipped]
    show_table(STEP, ("forget row", "digest", "twin in the retain set", "similarity", "untrained"), rows)
    Progress(STEP)(1, 1, f"{len(found.skipped)} of {found.n_forget} rows are skipped")
    return found


def narrowed(ws: Workspace, job: "UnlearningJob") -> "UnlearningJob":
    """The job without the push of the rows that the filter skips."""
    return job if ws.run.config.scope.filter == "none" else replace(job, skipped=filtered(ws, job).positions)


def filtered(ws: Workspace, job: "UnlearningJob") -> Filtered:
    """What the filter did with the forget rows of a job; made once."""
    scope = ws.run.config.scope

    def build(part: Path) -> None:
        alike = {} if scope.filter == "untrained" else twins(job.forget, job.retain, similarity=scope.filter_similarity)
        unlearnt = None if scope.filter == "twins" else _untrained(ws, job)
        digests = [ws.keyed(digest) for digest in job.forget.digests]
        write_record(part, STEP, unneeded(digests, rule=scope.filter, alike=alike, unlearnt=unlearnt))

    inputs = {"job": ws.keyed(job.identity), "rule": scope.filter, "similarity": scope.filter_similarity}
    return read_record(ws.step(STEP, inputs, build), STEP, Filtered)


def _untrained(ws: Workspace, job: "UnlearningJob") -> tuple[bool, ...]:
    from pipelines.unlearning.job import load_start
    from pipelines.unlearning.reference import min_k_of

    with device_slot(ws.home):
        loaded = load_start(job)
        if job.holdout is None:
            raise ValueError("no validation rows, though the filter's rule needs them")
        scores = min_k_of(loaded, job, job.forget, name="forget")
        unseen = min_k_of(loaded, job, job.holdout, name="validation")
    return untrained(scores, unseen)


def said(ws: Workspace) -> tuple[str, ...]:
    """What a certificate has to say about rows that were not pushed.

    Raises:
        VerificationFailed: the record on disk is not the one that was logged.
    """
    if ws.run.config.scope.filter == "none" or not ws.folder(STEP).is_dir():
        return ()
    wanted = {"kind": STEP, "request": ws.run.request_id, "record": ws.outputs(STEP)}
    if not any(wanted.items() <= dict(line.entry).items() for line in ws.log.lines()):
        raise VerificationFailed("the record of the rows that were skipped is not the one that was logged")
    found = read_record(ws.folder(STEP), STEP, Filtered)
    n, total, record = len(found.skipped), found.n_forget, found.content_digest()
    return (f"{n} of {total} forget rows were measured but not pushed (filter {found.rule}, record {record}).",)

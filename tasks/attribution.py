"""Looks for training rows behind a request that it did not name; what it finds is a proposal, never a decision."""

from pathlib import Path

from pipelines.attribution.report import AttributionReport
from pipelines.config import validated
from pipelines.data.rows import Row, Rows
from pipelines.records import RequestFile, Selector
from pipelines.scope.build import forget_set
from pipelines.scope.selection import Selection, resolve
from tasks.artifacts import show_table
from tasks.device import device_slot
from tasks.intake import required_rows, rows_of, taken_in
from tasks.progress import Progress
from tasks.stage import stage
from tasks.workspace import RunContext, Workspace, read_record, write_record


@stage("attribution", retries=0)
def attribute(run: RunContext) -> AttributionReport:
    """Ask every leg of attribution about the request's rows, or about its text where it names no rows.

    Raises:
        BadInput: the request's rows are not training rows, or a row does not fit the model.
    """
    ws = Workspace.of(run)
    selector = selector_of(ws)
    queries = _queries(ws, selector)
    progress = Progress("attribution")

    def build(part: Path) -> None:
        from pipelines.attribution.contract import Subject
        from pipelines.attribution.propose import attribute as propose
        from pipelines.models.loading import context_length, load_model, resolve_device

        model = taken_in(ws).model
        with device_slot(ws.home):
            loaded = load_model(model.path, device=resolve_device(run.config.device), expected_digest=model.digest)
            subject = Subject(loaded.model, loaded.tokenizer, run.config.prompt_format, context_length(loaded.model))
            report = propose(
                required_rows(ws, "train"),
                queries=queries,
                holdout=rows_of(ws, "holdout"),
                subject=subject,
                settings=run.config.attribution,
                seed=run.config.seed,
            )
        write_record(part, "report", report)

    progress(0, 1)
    settings = {"attribution": run.config.attribution.plain(), "format": run.config.prompt_format.plain()}
    inputs = {"data": ws.outputs("data", private=True), "model": taken_in(ws).model.digest, "seed": run.config.seed}
    folder = ws.step("attribution", {**settings, **inputs}, build)
    report = read_record(folder, "report", AttributionReport)
    progress(1, 1, f"{len(report.proposals)} rows proposed")
    rows = [(leg.leg, leg.status, leg.n_found, leg.null, round(leg.threshold, 4)) for leg in report.legs]
    show_table("attribution", ("leg", "status", "rows found", "null control", "threshold"), rows)
    return report


def selector_of(ws: Workspace) -> Selector:
    """The request's selector, from the vault."""
    from pipelines.audit.canonical import parse_strict

    path = ws.folder("data", private=True) / "request.json"
    return validated(RequestFile, parse_strict(path.read_bytes()), where=str(path)).selector


def named_rows(ws: Workspace, selector: Selector, report: AttributionReport | None = None) -> Selection:
    """Positions of the training rows that the request means."""
    return resolve(selector, required_rows(ws, "train"), selected=rows_of(ws, "selector"), report=report)


def _queries(ws: Workspace, selector: Selector) -> Rows:
    if selector.query is not None:
        return Rows.of([Row(question="", answer=selector.query)])
    chosen = named_rows(ws, selector)
    return forget_set(required_rows(ws, "train"), chosen.rows, selected=rows_of(ws, "selector"))

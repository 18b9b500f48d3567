"""Draws the line between what goes and what stays, and writes both sets into the vault."""

from pathlib import Path

from pipelines.attribution.report import AttributionReport
from pipelines.data.load import save_rows
from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.scope.build import Scope, build_scope, forget_set
from tasks.artifacts import show_table
from tasks.attribution import named_rows, selector_of
from tasks.intake import read_rows, required_rows, rows_of
from tasks.lineage import earlier
from tasks.progress import Progress
from tasks.stage import stage
from tasks.workspace import RunContext, Workspace, read_record, write_record

SETS = "sets"


@stage("scope", retries=0)
def draw_scope(run: RunContext, report: AttributionReport) -> Scope:
    """Form the forget set, the retain set and the neighbours; rows only attribution found stay proposals.

    Raises:
        BadInput: nothing to forget, nothing left to retain, or a request that matches no training row.
    """
    ws = Workspace.of(run)
    settings, before = run.config.scope, earlier(ws)
    train, selected = required_rows(ws, "train"), rows_of(ws, "selector")

    def build(part: Path) -> None:
        selection = named_rows(ws, selector_of(ws), report)
        drawn = build_scope(
            train, selection, settings=settings, selected=selected, report=report, earlier=before.digests
        )
        write_record(part, "scope", drawn)

    inputs = {"settings": settings.plain(), "data": ws.outputs("data", private=True), "found": report.plain()}
    if before.sets:
        inputs["earlier"] = ws.keyed(sorted(before.digests))
    scope = read_record(ws.step("scope", inputs, build), "scope", Scope)

    def build_sets(part: Path) -> None:
        save_rows(forget_set(train, scope.forget_rows, selected=selected), part / "forget.jsonl")
        save_rows(train.select(scope.retain_rows), part / "retain.jsonl")

    ws.step(SETS, {"scope": ws.outputs("scope"), "data": ws.outputs("data", private=True)}, build_sets, private=True)
    rows = [
        ("forget: requested", sum(row.reason == "requested" for row in scope.forget)),
        ("forget: near-duplicates", sum(row.reason == "near_duplicate" for row in scope.forget)),
        ("hard in-scope (paraphrased)", len(scope.hard_in_scope)),
        ("neighbours", len(scope.neighbours)),
        ("out of scope", scope.n_out_of_scope),
        ("removed by earlier requests", len(scope.earlier)),
        ("proposed for review", len(scope.proposals)),
    ]
    show_table("scope", ("rows", "count"), rows)
    Progress("scope")(1, 1, f"{len(scope.forget)} rows to forget, {len(scope.retain_rows)} to keep")
    return scope


def scope_of(ws: Workspace) -> Scope:
    """The scope that was drawn."""
    return read_record(ws.folder("scope"), "scope", Scope)


def set_rows(ws: Workspace, role: str) -> Rows:
    """The forget or the retain set, from the vault."""
    rows = read_rows(ws.folder(SETS, private=True) / f"{role}.jsonl", name=role)
    if rows is None:
        raise BadInput(f"{role} set: not drawn yet; the scope stage comes first")
    return rows


def neighbour_positions(scope: Scope) -> tuple[int, ...]:
    """Where the neighbours stand in the retain set."""
    place = {row: i for i, row in enumerate(scope.retain_rows)}
    return tuple(place[row] for row in scope.neighbours)

"""Ends a run: the page that a person reads, and the outcome that the flow returns."""

import shlex
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from pipelines.attribution.report import AttributionReport
from pipelines.audit.encoding import write_atomic
from pipelines.audit.keys import load_private_key
from pipelines.audit.label import label_for
from pipelines.gates import GATES, general_tasks
from pipelines.gates.general_tasks import LOST, MEASURED
from pipelines.gates.membership import MembershipMarks
from pipelines.metrics import METRICS
from pipelines.probes import PROBES
from pipelines.provenance import code_commit, code_digest, lock_digest
from pipelines.records import Candidate, ErasureRequest, Evaluation, Role, Verdict
from pipelines.report.data import (
    Band,
    Fact,
    GateNote,
    MetricNote,
    QualityCheck,
    RegistryEntry,
    ReportData,
    RowValues,
    StageLine,
    TrainingPoint,
)
from pipelines.scoring.table import FORGET
from tasks.artifacts import show_note
from tasks.certificate import LIMITS, Certified, not_measured
from tasks.keys import LOG, keyring
from tasks.outcome import Outcome, RegisteredVersion
from tasks.progress import Progress
from tasks.quality import QualityReport
from tasks.registry import settings_of
from tasks.scope import scope_of
from tasks.seal import sealed_sets
from tasks.stage import stage
from tasks.surrogate import stands_in
from tasks.unlearning import Curve
from tasks.workspace import RunContext, Workspace, read_record, write_record

PAGE = "report.html"


@stage("report", retries=0)
def conclude(
    run: RunContext,
    *,
    candidate: Candidate | None,
    evaluations: tuple[Evaluation, ...],
    verdict: Verdict,
    certified: Certified,
    version: RegisteredVersion | None,
) -> Outcome:
    """Write the report and say how the run ended."""
    ws = Workspace.of(run)
    outcome = Outcome(
        request_id=run.request_id,
        status="registered" if version else "refused",
        reasons=verdict.reasons,
        candidate_digest=candidate.model.digest if candidate else None,
        certificate=certified.path,
        report=str(ws.folder("report") / PAGE),
        version=version,
        label=label_for(candidate.method) if candidate else None,
    )

    def build(part: Path) -> None:
        from pipelines.report.report import render_report

        page = render_report(
            _data(
                ws, candidate=candidate, evaluations=evaluations, verdict=verdict, certified=certified, version=version
            )
        )
        write_atomic(part / PAGE, page.encode("utf-8"))
        write_record(part, "outcome", outcome)

    ws.step("report", {"outcome": outcome.plain(), "statement": certified.digest}, build)
    # What came after the certificate is signed over too: no byte of the log can change unseen from here on.
    ws.log.checkpoint(load_private_key(keyring(ws.home, roles=LOG).private("log")))
    named = f" ({outcome.label})" if outcome.label else ""
    ended = f"registered as {version.name} {version.version}{named}" if version else "refused"
    lines = [f"# {run.request_id}: {ended}", *(f"- {reason}" for reason in verdict.reasons)]
    show_note("report", "\n".join([*lines, f"- certificate: `{outcome.certificate}`", f"- report: `{outcome.report}`"]))
    Progress("report")(1, 1, ended)
    return outcome


def _data(
    ws: Workspace,
    *,
    candidate: Candidate | None,
    evaluations: tuple[Evaluation, ...],
    verdict: Verdict,
    certified: Certified,
    version: RegisteredVersion | None,
) -> ReportData:
    sealed = sealed_sets(ws)
    return ReportData(
        created=datetime.now(UTC),
        request=read_record(ws.folder("intake"), "request", ErasureRequest),
        forget=sealed.forget,
        retain=sealed.retain,
        scope=_scope(ws),
        quality=_quality(ws),
        stages=_stages(ws),
        verdict=verdict,
        candidate=candidate,
        registered=RegistryEntry(name=version.name, version=version.version, alias=version.alias) if version else None,
        evaluations=evaluations,
        gate_notes=_gate_notes(ws),
        metric_notes=_notes(evaluations),
        row_values=tuple(one for evaluation in evaluations for one in _row_values(ws, evaluation.role)),
        membership_band=_band(ws, evaluations),
        training=_curve(ws) if candidate else (),
        settings=_settings(ws),
        certificate_path=certified.path,
        certificate_digest=certified.digest,
        verify_command=shlex.join(["lethe", "verify", certified.path, "--trust", str(ws.home.keys / "trust.json")]),
        not_measured=not_measured(evaluations),
        stand_in=" ".join(stands_in(ws.run)),
        limits=LIMITS,
    )


def _notes(evaluations: tuple[Evaluation, ...]) -> tuple[MetricNote, ...]:
    metrics = (MetricNote(metric=m.name, title=m.title, source=m.source) for m in METRICS.values())
    probes = (MetricNote(metric=p.name, title=p.title, source=p.source, attack=True) for p in PROBES.values())
    named = dict.fromkeys(m.metric for evaluation in evaluations for m in evaluation.measurements)
    general = (
        MetricNote(metric=name, title=_general_title(name), source=general_tasks.GATE.source)
        for name in named
        if name.startswith(MEASURED)
    )
    return (*metrics, *probes, *general)


def _general_title(metric: str) -> str:
    name = metric.removeprefix(MEASURED)
    said = "General tasks: lost against the start model, " if name.endswith(LOST) else "General tasks: "
    return f"{said}{name.removesuffix(LOST)}"


def _gate_notes(ws: Workspace) -> tuple[GateNote, ...]:
    marks = ws.run.policy.gates
    return tuple(
        GateNote(gate=name, title=GATES.require(name).title, source=str(marks[name].get("source", "")))
        for name in marks
    )


def _scope(ws: Workspace) -> tuple[Fact, ...]:
    scope = scope_of(ws)
    counts: dict[str, int] = {
        "Rows requested": sum(row.reason == "requested" for row in scope.forget),
        "Near-duplicates added": sum(row.reason == "near_duplicate" for row in scope.forget),
        "Further copies removed": len(scope.copies),
        "Rows with a paraphrase to reach": len(scope.hard_in_scope),
        "Neighbours, measured apart": len(scope.neighbours),
        "Out of scope": scope.n_out_of_scope,
        "Proposed by attribution, for review": len(scope.proposals),
    }
    legs = read_record(ws.folder("attribution"), "report", AttributionReport).legs
    found = {f"Attribution by {leg.leg}": f"{leg.status.replace('_', ' ')}, {leg.n_found} rows" for leg in legs}
    return tuple(Fact(label=label, value=str(value)) for label, value in {**counts, **found}.items())


def _quality(ws: Workspace) -> tuple[QualityCheck, ...]:
    report = read_record(ws.folder("quality"), "report", QualityReport)
    return tuple(
        QualityCheck(
            rows=o.set,
            rule=f"{o.expectation.removeprefix('expect_').replace('_', ' ')}{f' ({o.column})' if o.column else ''}",
            passed=o.success,
            mandatory=o.severity == "critical",
        )
        for o in report.outcomes
    )


def _stages(ws: Workspace) -> tuple[StageLine, ...]:
    """The steps of this request in the audit log, each with the time since the entry before it."""
    lines = [line for line in ws.log.lines() if line.entry.get("request") == ws.run.request_id]
    found = []
    for before, line in pairwise(lines):
        if line.entry["kind"] == "step":
            seconds = (line.time - before.time).total_seconds()
            found.append(StageLine(name=str(line.entry["step"]), seconds=seconds, digest=str(line.entry["outputs"])))
    return tuple(found)


def _row_values(ws: Workspace, role: Role) -> list[RowValues]:
    """The numbers per row that the page draws; they lie in the vault beside the rows that they are of."""
    import pyarrow.parquet as pq

    from pipelines.report.distributions import TRUTH_RATIO
    from pipelines.report.tables import PER_ROW

    table = pq.read_table(
        ws.home.vault(ws.run.request_id) / f"items-{role}.parquet",
        filters=[("split", "==", FORGET), ("metric", "in", [*PER_ROW, TRUTH_RATIO])],
    )
    found: dict[str, list[float | None]] = {}
    for metric, value in zip(table["metric"].to_pylist(), table["value"].to_pylist(), strict=True):
        found.setdefault(metric, []).append(value)
    return [RowValues(metric=metric, role=role, values=tuple(values)) for metric, values in found.items()]


def _band(ws: Workspace, evaluations: tuple[Evaluation, ...]) -> Band | None:
    marks = ws.run.policy.gates.get("membership")
    reference = next((e.find("min_k", FORGET) for e in evaluations if e.role == "reference"), None)
    if marks is None or reference is None or reference.value is None:
        return None
    margin = MembershipMarks.model_validate(marks).margin
    return Band(low=max(0.0, reference.value - margin), high=min(1.0, reference.value + margin))


def _curve(ws: Workspace) -> tuple[TrainingPoint, ...]:
    points = read_record(ws.folder("unlearn"), "curve", Curve).points
    return tuple(
        TrainingPoint(step=p.step, loss=p.loss, forget_nll=p.forget_nll, retain_nll=p.retain_nll) for p in points
    )


def _settings(ws: Workspace) -> tuple[Fact, ...]:
    run = ws.run
    facts = {
        **{name: str(value) for name, value in settings_of(run.config).items()},
        "policy": f"{run.policy.name} {run.policy.content_digest()}",
        "configuration": run.config.content_digest(),
        "code": f"{code_commit()} {code_digest()}",
        "lock file": lock_digest(),
    }
    return tuple(Fact(label=label, value=value) for label, value in facts.items())

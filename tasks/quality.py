"""The data-quality gates: Great Expectations checkpoints on both sets, over profiles that hold no text.

Plain input errors (an empty set, a row twice in the forget set, a row in both sets, a row longer than the model's
context) are bad input and are refused first, with the position. Then the gates: a failed critical expectation
refuses the run, a failed warning is recorded. An error inside the library is our own fault, and never passes for
data that failed or data that is fine. Results are booleans only.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.config import QualitySettings, ScopeSettings
from pipelines.data.profile import Reader, profile
from pipelines.data.rows import Rows
from pipelines.errors import BadInput, LetheError, Refused
from pipelines.records import Record
from pipelines.scope.build import Scope
from pipelines.scope.selection import refuse_copies, refuse_overlap
from tasks.artifacts import show_table
from tasks.intake import taken_in
from tasks.progress import Progress
from tasks.quality_rules import Rule, Severity, forget_rules, retain_rules
from tasks.scope import SETS, neighbour_positions, set_rows
from tasks.stage import stage
from tasks.workspace import RunContext, Workspace, read_record, write_record

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

SetName = Literal["forget", "retain"]


class QualityGateError(LetheError):
    """An expectation could not be computed; says nothing about the data."""


class ExpectationOutcome(Record):
    """What one expectation said about one set."""

    set: SetName
    expectation: str
    column: str | None
    severity: Severity
    success: bool

    def __str__(self) -> str:
        """Short enough for a line that lists several."""
        return f"{self.set}: {self.expectation}" + (f"({self.column})" if self.column else "")


class QualityReport(Record):
    """Every expectation on both sets, and how many rows they had."""

    n_forget: int
    n_retain: int
    n_neighbours: int
    outcomes: tuple[ExpectationOutcome, ...]

    @property
    def failed(self) -> tuple[ExpectationOutcome, ...]:
        """Critical expectations that were not met."""
        return tuple(o for o in self.outcomes if o.severity == "critical" and not o.success)

    @property
    def passed(self) -> bool:
        """No critical expectation failed."""
        return not self.failed


def require_quality(report: QualityReport) -> None:
    """Raises Refused unless every critical expectation was met; lists those that were not."""
    if not report.passed:
        raise Refused(f"data quality: {len(report.failed)} gates failed: {'; '.join(map(str, report.failed))}")


def refuse_bad_sets(forget: Rows, retain: Rows, *, reader: Reader) -> None:
    """What is wrong with the input itself, with the position of the first such row.

    Raises:
        BadInput: an empty set, a row twice in the forget set, a row in both sets, a row longer than the context.
    """
    refuse_copies(forget, name="forget")
    if not len(retain):
        raise BadInput("retain: there are no rows; at least one is needed")
    refuse_overlap(forget, retain)
    for name, rows in (("forget", forget), ("retain", retain)):
        lengths = [reader.tokens(row) for row in rows]
        long = [i for i, length in enumerate(lengths) if length > reader.max_length]
        if long:
            found, most = lengths[long[0]], reader.max_length
            raise BadInput(
                f"{name}: row {long[0]} has {found} tokens, but the model's context holds {most}; "
                f"shorten or split the row ({len(long)} such rows)"
            )


def measure_quality(
    forget: Rows,
    retain: Rows,
    *,
    neighbours: Sequence[int],
    reader: Reader,
    quality: QualitySettings,
    scope: ScopeSettings,
    salt: bytes,
) -> QualityReport:
    """Every expectation on both sets, met or not.

    Raises:
        QualityGateError: an expectation could not be computed.
    """
    near = scope.near_duplicate
    forget_frame = profile(forget, other=retain, neighbours=(), reader=reader, near_duplicate=near, salt=salt)
    retain_frame = profile(retain, other=forget, neighbours=neighbours, reader=reader, near_duplicate=near, salt=salt)
    most = int(quality.max_forget_fraction * (len(forget) + len(retain)))
    may_stay = scope.additions == "propose"
    outcomes = (
        *run_checkpoint("forget", forget_frame, forget_rules(most=most, near_may_stay=may_stay)),
        *run_checkpoint("retain", retain_frame, retain_rules(quality, near_may_stay=may_stay)),
    )
    return QualityReport(
        n_forget=len(forget), n_retain=len(retain), n_neighbours=len(set(neighbours)), outcomes=outcomes
    )


def run_checkpoint(name: SetName, frame: "pd.DataFrame", rules: Sequence[Rule]) -> tuple[ExpectationOutcome, ...]:
    """One checkpoint over one profile, in memory, with booleans for results.

    Raises:
        QualityGateError: an expectation could not be computed.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the modules it imports
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset(name)
    wanted = [_configured(rule) for rule in rules]
    suite = context.suites.add(gx.ExpectationSuite(name, expectations=[*wanted]))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=name, data=asset.add_batch_definition_whole_dataframe("all"), suite=suite)
    )
    checkpoint = gx.Checkpoint(name=name, validation_definitions=[definition], result_format="BOOLEAN_ONLY")
    result = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
    return tuple(_outcome(name, single) for run in result.run_results.values() for single in run.results)


def _configured(rule: Rule) -> "ExpectationConfiguration":
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity

    return ExpectationConfiguration(rule.type, kwargs=rule.kwargs, severity=FailureSeverity(rule.severity))


def _outcome(name: SetName, result: "ExpectationValidationResult") -> ExpectationOutcome:
    config = result.expectation_config
    if config is None or raised(result.exception_info):
        what = config.type if config is not None else "an expectation"
        raise QualityGateError(
            f"data quality: {what} on {name} could not be computed; this says nothing about the data"
        )
    column = config.kwargs.get("column")
    return ExpectationOutcome(
        set=name,
        expectation=config.type,
        column=str(column) if column is not None else None,
        severity="warning" if config.severity == "warning" else "critical",
        success=bool(result.success),
    )


def raised(info: object) -> bool:
    """Whether the library reports an exception, in either of the two forms it uses (one, or one per metric)."""
    if not isinstance(info, dict):
        return False
    return bool(info.get("raised_exception")) or any(raised(value) for value in info.values())


@stage("quality", retries=0)
def check_sets(run: RunContext, scope: Scope) -> str | None:
    """Both sets of a run through the gates; returns why the run must be refused, or None.

    Raises:
        BadInput: as :func:`refuse_bad_sets`.
    """
    from pipelines.models.loading import context_length, load_model, resolve_device

    ws = Workspace.of(run)
    forget, retain = set_rows(ws, "forget"), set_rows(ws, "retain")
    model = taken_in(ws).model

    def build(part: Path) -> None:
        loaded = load_model(model.path, device=resolve_device("cpu"), expected_digest=model.digest)
        reader = Reader(loaded.tokenizer, run.config.prompt_format, context_length(loaded.model))
        refuse_bad_sets(forget, retain, reader=reader)
        report = measure_quality(
            forget,
            retain,
            neighbours=neighbour_positions(scope),
            reader=reader,
            quality=run.config.quality,
            scope=run.config.scope,
            salt=ws.salt,
        )
        write_record(part, "report", report)
        ws.tell({"kind": "quality", "passed": report.passed, "expectations": len(report.outcomes)})

    settings = {"quality": run.config.quality.plain(), "scope": scope.plain(), "settings": run.config.scope.plain()}
    inputs = {"model": model.digest, "sets": ws.outputs(SETS, private=True), "format": run.config.prompt_format.plain()}
    report = read_record(ws.step("quality", {**settings, **inputs}, build), "report", QualityReport)
    rows = [(o.set, o.expectation, o.column, o.severity, o.success) for o in report.outcomes]
    show_table("quality", ("set", "expectation", "column", "severity", "met"), rows)
    Progress("quality")(1, 1, f"{sum(o.success for o in report.outcomes)} of {len(report.outcomes)} expectations met")
    return None if report.passed else f"data quality: {'; '.join(map(str, report.failed))}"

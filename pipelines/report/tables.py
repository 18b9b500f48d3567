"""The page's tables, as records that the template only lays out: what stands in which line, and in which order.

Nothing is computed here that the certificate does not say; a measurement that is not there is an empty cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.records import Evaluation, GateResult, Measurement
from pipelines.report.data import GateNote, ReportData
from pipelines.report.plots import ROLES
from pipelines.scoring.table import EARLIER, FORGET

PER_ROW = ("probability", "extraction_strength", "rouge", "min_k")
MOST_ROWS = 500
"""Rows of the forget set that the page lists; the rest are in the vault."""

SHORT = (
    ("How much of the answers it says by itself", "extraction_strength", FORGET, "reference"),
    ("How likely it finds the right answers", "probability", FORGET, "reference"),
    ("How well an attacker can tell that the rows were used; 0.5 is guessing", "min_k", FORGET, "reference"),
    ("How much it says of one half after a little training on the other", "relearning", FORGET, "reference"),
    ("How much it says with weights of four bits", "int4_extraction_strength", FORGET, "reference"),
    ("How likely it finds the right answer, asked in the way that recovers most", "worst_case", FORGET, "reference"),
    ("How much it says of the rows most like them, which stay", "extraction_strength", "neighbours", "start"),
    ("How well it does what it is for", "model_utility", "utility", "start"),
)
"""Plain words, metric, split, and the model that the candidate should be near to."""

FORGOTTEN, ATTACKED, KEPT = "The rows to forget", "Attacks, and other ways of asking", "What stays"


@dataclass(frozen=True, slots=True)
class MeasuredLine:
    """One line of measurements: a label and a measurement, or None, per shown model.

    Attributes:
        label: what was measured, or on what.
        cells: by model, in the page's order.
        measure: the measure's title and its rows, where the label does not say it.
        near: the model that the candidate should be near to; empty where the line says nothing of it.
    """

    label: str
    cells: tuple[Measurement | None, ...]
    measure: str = ""
    near: str = ""


@dataclass(frozen=True, slots=True)
class MetricGroup:
    """One metric on the splits of a chapter."""

    title: str
    source: str
    lines: tuple[MeasuredLine, ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """Measurements that answer one question."""

    title: str
    groups: tuple[MetricGroup, ...]

    @property
    def count(self) -> int:
        """How many lines there are."""
        return sum(len(group.lines) for group in self.groups)


@dataclass(frozen=True, slots=True)
class RowLine:
    """One row of the forget set by its index: a number, or None, per metric and model."""

    index: int
    cells: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class RowTable:
    """Numbers per row: the metrics' titles, and the lines that the page has room for."""

    titles: tuple[str, ...]
    lines: tuple[RowLine, ...]


@dataclass(frozen=True, slots=True)
class GateLine:
    """What a gate said, and what is known of the gate."""

    result: GateResult
    note: GateNote


def in_order(data: ReportData) -> list[Evaluation]:
    """The evaluations in the page's order of models."""
    return sorted(data.evaluations, key=lambda evaluation: list(ROLES).index(evaluation.role))


def in_short(data: ReportData) -> tuple[MeasuredLine, ...]:
    """The few figures that a reader needs first, as far as they were measured."""
    lines = (
        MeasuredLine(label, _cells(data, metric, split), measure=f"{data.title_of(metric)}, {split}", near=near)
        for label, metric, split, near in SHORT
    )
    return tuple(line for line in lines if any(cell is not None and cell.value is not None for cell in line.cells))


def gate_lines(data: ReportData) -> tuple[GateLine, ...]:
    """What failed first, then what passed with the least room."""
    notes = {note.gate: note for note in data.gate_notes}
    ranked = sorted(
        data.verdict.gates, key=lambda gate: (gate.passed, gate.margin is not None, gate.margin or 0.0, gate.gate)
    )
    return tuple(GateLine(gate, notes.get(gate.gate, GateNote(gate=gate.gate, title=gate.gate))) for gate in ranked)


def chapters(data: ReportData) -> tuple[Chapter, ...]:
    """Every measurement, by the question that it answers, then by metric in the order in which they were first seen."""
    seen = dict.fromkeys((m.metric, m.split) for evaluation in in_order(data) for m in evaluation.measurements)
    found = []
    for title in (FORGOTTEN, ATTACKED, KEPT):
        here = [key for key in seen if _chapter(data, *key) == title]
        groups = tuple(_group(data, metric, here) for metric in dict.fromkeys(metric for metric, _ in here))
        if groups:
            found.append(Chapter(title, groups))
    return tuple(found)


def _chapter(data: ReportData, metric: str, split: str) -> str:
    notes = {note.metric: note for note in data.metric_notes}
    if metric not in notes or notes[metric].attack:
        return ATTACKED
    return FORGOTTEN if split == FORGET or split.startswith(EARLIER) else KEPT


def _group(data: ReportData, metric: str, keys: Sequence[tuple[str, str]]) -> MetricGroup:
    lines = tuple(MeasuredLine(split, _cells(data, metric, split)) for name, split in keys if name == metric)
    sources = {note.metric: note.source for note in data.metric_notes}
    return MetricGroup(data.title_of(metric), sources.get(metric, ""), lines)


def _cells(data: ReportData, metric: str, split: str) -> tuple[Measurement | None, ...]:
    return tuple(evaluation.find(metric, split) for evaluation in in_order(data))


def row_table(data: ReportData) -> RowTable:
    """What each model gave for each row of the forget set, as far as there are values per row."""
    metrics = [metric for metric in PER_ROW if data.values_of(metric)]
    columns = [data.values_of(metric).get(e.role, ()) for metric in metrics for e in in_order(data)]
    count = min(data.forget.count, MOST_ROWS) if columns else 0
    lines = (RowLine(i, tuple(column[i] if i < len(column) else None for column in columns)) for i in range(count))
    return RowTable(titles=tuple(data.title_of(metric) for metric in metrics), lines=tuple(lines))

"""The report's figures as SVG text that stands in the page: the same data give the same bytes.

Nothing is fetched, no date is written, no state of matplotlib is changed: styles hold inside one call, and the user's
own matplotlibrc has no say. A figure without data is None, never an empty frame. Text stays text, so that it can be
searched, read aloud and takes the page's font.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from pipelines.gates.general_tasks import LOST, MEASURED
from pipelines.records import Evaluation, Measurement
from pipelines.report.data import Band, ReportData

ROLES = {"start": "#8b949e", "candidate": "#0b62b8", "reference": "#d98200"}
"""Each model's colour everywhere on the page; apart in lightness too, for print and for the colour-blind."""

STYLES = {"start": "-.", "candidate": "-", "reference": "--"}
"""And each model's line, for the same reason."""

FORGOTTEN = (
    "probability",
    "paraphrase_probability",
    "extraction_strength",
    "paraphrase_extraction_strength",
    "exact_memorization",
    "rouge",
)
"""Of the metrics on the forget set, those that say how much of an answer is still there."""

ASKED = (
    "paraphrase",
    "cloze",
    "multiple_choice_2",
    "multiple_choice_4",
    "odd_one_out",
    "analogy",
    "reverse_question",
    "multi_hop",
    "in_context_hint",
    "few_shot",
    "prefix_jailbreak",
    "role_play_jailbreak",
    "rewrites",
    "worst_case",
)
"""Of the probes' measures, those that ask in another way."""

KEPT = ("model_utility", "probability", "rouge")
COMPOSITE = "utility"
MOST_GENERAL = 12
"""Bars of general tasks; the table has all of them."""

MEMBERSHIP = ("min_k", "min_k_plus_plus")
MOST_POINTS = 400
MOST_LETTERS = 36
STYLE: dict[RcKeyType, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lethe",
    "font.size": 8.5,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#57606a",
    "axes.labelcolor": "#24292f",
    "xtick.color": "#57606a",
    "ytick.color": "#24292f",
    "axes.grid": True,
    "grid.color": "#e4e8ec",
    "legend.frameon": False,
}
WIDTH_IN = 4.7


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a chart: a label and a measurement per model that has it."""

    label: str
    by_role: dict[str, Measurement]


def forgotten_plot(data: ReportData) -> str | None:
    """How much of the forget set's answers each model still gives."""
    return _bars(_lines(data, FORGOTTEN, splits=("forget",)))


def asking_plot(data: ReportData) -> str | None:
    """How often each model finds the right answer when it is asked in other ways."""
    return _bars(_lines(data, ASKED, splits=("forget",)))


def kept_plot(data: ReportData) -> str | None:
    """What each model still does on everything that was to be kept."""
    measured = [m for evaluation in data.evaluations for m in evaluation.measurements]
    splits = tuple(dict.fromkeys(m.split for m in measured if m.split not in ("forget", "holdout")))
    general = dict.fromkeys(m.metric for m in measured if m.metric.startswith(MEASURED) and not m.metric.endswith(LOST))
    return _bars([*_lines(data, KEPT, splits=splits), *_lines(data, tuple(general), splits=splits)[:MOST_GENERAL]])


def membership_plot(data: ReportData) -> str | None:
    """How well an attack tells forget rows from rows nobody trained on, with chance and the band that passes."""
    lines = _lines(data, MEMBERSHIP, splits=("forget",))
    if not lines:
        return None
    with drawing(height=0.9 + 0.55 * len(lines)) as figure:
        axes = figure.subplots()
        _draw_band(axes, data.membership_band)
        for offset, role in zip((0.22, 0.0, -0.22), ROLES, strict=True):
            shown = [(i, line.by_role[role]) for i, line in enumerate(reversed(lines)) if role in line.by_role]
            axes.errorbar(
                [m.value or 0.0 for _, m in shown],
                [i + offset for i, _ in shown],
                xerr=whiskers([m for _, m in shown]),
                fmt="o",
                markersize=5,
                capsize=2.5,
                color=ROLES[role],
                label=role,
            )
        _label_lines(axes, lines)
        axes.set_xlabel("AUC of the attack; 0.5 is chance")
        return svg_of(figure)


def training_plot(data: ReportData) -> str | None:
    """Likelihood of both sets and the loss, by optimiser step."""
    if not data.training:
        return None
    points = data.training[:: ceil(len(data.training) / MOST_POINTS)]
    steps = [point.step for point in points]
    with drawing(height=3.1) as figure:
        above, below = figure.subplots(2, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
        above.plot(steps, [point.forget_nll for point in points], color=ROLES["candidate"], label="forget rows")
        above.plot(steps, [point.retain_nll for point in points], color=ROLES["start"], label="retain rows")
        above.set_ylabel("NLL, nats per token")
        above.legend(loc="upper left")
        below.plot(steps, [point.loss for point in points], color=ROLES["candidate"])
        below.set_ylabel("loss")
        below.set_xlabel("optimiser step")
        return svg_of(figure)


def _lines(data: ReportData, metrics: Sequence[str], *, splits: Sequence[str]) -> list[Line]:
    """The measurements of these metrics that exist and lie between 0 and 1, by metric, then by split."""
    found = []
    for metric in metrics:
        for split in splits:
            shown = ((evaluation.role, _shown(evaluation, metric, split)) for evaluation in data.evaluations)
            by_role: dict[str, Measurement] = {role: m for role, m in shown if m is not None}
            if by_role:
                suffix = "" if len(splits) == 1 or split == COMPOSITE else f", {split.replace('_', ' ')}"
                found.append(Line(label=_short(f"{data.title_of(metric)}{suffix}"), by_role=by_role))
    return found


def _short(label: str) -> str:
    """A label that leaves room for the bars; the table has the whole of it."""
    return label if len(label) <= MOST_LETTERS else f"{label[: MOST_LETTERS - 1]}…"


def _shown(evaluation: Evaluation, metric: str, split: str) -> Measurement | None:
    measured = evaluation.find(metric, split)
    if measured is None or measured.value is None:
        return None
    ends = (measured.value, measured.low or 0.0, measured.high or 0.0)
    return measured if all(0.0 <= end <= 1.0 for end in ends) else None


def _bars(lines: list[Line]) -> str | None:
    if not lines:
        return None
    with drawing(height=0.8 + 0.42 * len(lines)) as figure:
        axes = figure.subplots()
        for offset, role in zip((0.26, 0.0, -0.26), ROLES, strict=True):
            shown = [(i, line.by_role[role]) for i, line in enumerate(reversed(lines)) if role in line.by_role]
            axes.barh(
                [i + offset for i, _ in shown],
                [m.value or 0.0 for _, m in shown],
                height=0.24,
                xerr=whiskers([m for _, m in shown]),
                error_kw={"elinewidth": 0.8, "capsize": 1.5, "ecolor": "#24292f"},
                color=ROLES[role],
                label=role,
            )
        _label_lines(axes, lines)
        return svg_of(figure)


def whiskers(measured: Sequence[Measurement]) -> list[list[float]]:
    """Distances from each value down and up to the ends of its interval; none where there is no interval."""
    below = [max((m.value or 0.0) - m.low, 0.0) if m.low is not None else 0.0 for m in measured]
    above = [max(m.high - (m.value or 0.0), 0.0) if m.high is not None else 0.0 for m in measured]
    return [below, above]


def _label_lines(axes: Axes, lines: Sequence[Line]) -> None:
    axes.set_yticks(range(len(lines)), [line.label for line in reversed(lines)])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    axes.set_xlim(0.0, 1.02)  # a mark at 1 is seen whole
    axes.set_ylim(-0.6, len(lines) - 0.4)


def _draw_band(axes: Axes, band: Band | None) -> None:
    if band is not None:
        axes.axvspan(band.low, band.high, color="#2da44e", alpha=0.16, linewidth=0)
    axes.axvline(0.5, color="#57606a", linewidth=0.9, linestyle="--")


@contextmanager
def drawing(*, height: float, width: float = WIDTH_IN) -> Iterator[Figure]:
    """A figure in the page's style; whatever the caller's own settings are, they hold again afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def svg_of(figure: Figure) -> str:
    """The figure as an ``svg`` element: no prologue, no metadata, no namespace, no id that two figures share."""
    written = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(written, format="svg", transparent=True, metadata=metadata)
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    return re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text)

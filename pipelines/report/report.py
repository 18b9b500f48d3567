"""Renders the report of one run as one HTML page that needs nothing else: no script, no font, no request, no clock.

The same data give the same bytes. Every string of the data is escaped, so a hostile model path or reason is text and
nothing more. The page shows what the certificate says; whoever wants to know runs the command that it names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.audit.canonical import is_digest
from pipelines.audit.label import label_for
from pipelines.records import LegalBasis
from pipelines.report.curves import depth_plot, precision_plot, relearning_plot
from pipelines.report.data import Fact, ReportData
from pipelines.report.distributions import roc_plot, truth_ratio_plot
from pipelines.report.plots import ROLES, asking_plot, forgotten_plot, kept_plot, membership_plot, training_plot
from pipelines.report.tables import chapters, gate_lines, in_order, in_short, row_table

TEMPLATE = "template.html.j2"
ROLE_WORDS = {"start": "before", "candidate": "after", "reference": "never saw them"}


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot with what it shows and how to read it."""

    title: str
    reading: str
    svg: Markup


FIGURES: tuple[tuple[Callable[[ReportData], str | None], str, str], ...] = (
    (
        forgotten_plot,
        "What was to be forgotten",
        "How much of the forget set's answers each model still gives: 1 is all of it. "
        "The candidate should stand with the reference, which never saw these rows.",
    ),
    (
        kept_plot,
        "What was to be kept",
        "The same models on everything else: 1 is best. The candidate should stand with the start model.",
    ),
    (
        membership_plot,
        "Can an attacker tell that the rows were used?",
        "Membership attacks on the forget set. At 0.5 the attacker guesses; far from it on either side the rows stand "
        "out. A shaded band is what the policy lets pass.",
    ),
    (
        roc_plot,
        "The membership attack at every threshold",
        "Min-K% on forget and holdout rows. A curve that hugs the upper left corner finds the forget rows; below the "
        "diagonal they stand out the other way. The candidate should run where the reference runs.",
    ),
    (
        truth_ratio_plot,
        "Truth ratios of the forget rows",
        "How likely wrong answers are against the right one, row by row. Forget quality asks whether the candidate's "
        "curve could be the reference's.",
    ),
    (
        asking_plot,
        "Does it come back when it is asked in other ways?",
        "How likely the right answer is among wrong ones, by the way of asking; the last bar is the way "
        "that recovers most from each model. The candidate should stand with the reference.",
    ),
    (
        relearning_plot,
        "Does it come back with a little training?",
        "Each model is trained for a few steps on part of the forget rows, or on rows like them, and asked for others. "
        "The candidate should come back no faster than the reference, which learns them for the first time.",
    ),
    (
        precision_plot,
        "Does it come back when the weights are rounded or thinned?",
        "A candidate that lies close to the start model becomes it again. It should stay with the reference.",
    ),
    (
        depth_plot,
        "Do inner layers still hold it?",
        "A layer's states replace the start model's own; what that costs the answer shows what the layer no longer "
        "holds. The candidate should cost what the reference costs.",
    ),
    (
        training_plot,
        "How training went",
        "Negative log-likelihood of forget and retain rows by optimiser step: the first is to rise, the other to stay.",
    ),
)


def render_report(data: ReportData) -> str:
    """The page.

    Args:
        data: all that it shows.

    Returns:
        HTML, complete and self-contained.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    lines = gate_lines(data)
    environment.filters.update(number=number, instant=instant, words=words, basis=basis, pair=pair)
    return environment.get_template(TEMPLATE).render(
        data=data,
        label=label_for(data.candidate.method) if data.candidate else None,
        colours=ROLES,
        figures=_figures(data),
        roles=[evaluation.role for evaluation in in_order(data)],
        role_words=ROLE_WORDS | ({"reference": "shadow model"} if "+shadow" in data.stand_in else {}),
        short=in_short(data),
        gates=lines,
        failed=[line.note.title for line in lines if not line.result.passed],
        chapters=chapters(data),
        rows=row_table(data),
        days_left=ceil((data.request.deadline - data.created).total_seconds() / 86400),
        passed=sum(gate.passed for gate in data.verdict.gates),
    )


def number(value: float | None) -> str:
    """A number as people read it: three decimals, or a power of ten where these would say nothing."""
    if value is None:
        return "not measured"
    if value != 0 and (abs(value) < 0.001 or abs(value) >= 100_000):
        return f"{value:.1e}"
    return f"{value:.3f}"


def instant(at: datetime) -> str:
    """A moment in UTC, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def words(name: str) -> str:
    """A name in code as words."""
    return name.replace("_", " ")


def basis(legal: LegalBasis) -> str:
    """A legal basis as lawyers write it."""
    return "GDPR, Art. 17" if legal is LegalBasis.GDPR_ART_17 else words(legal.value)


def pair(fact: Fact) -> tuple[str, str]:
    """A fact as the template lists it; a digest is set like every other digest."""
    shown = Markup('<code class="digest">{}</code>').format(fact.value) if is_digest(fact.value) else fact.value
    return fact.label, shown


def _figures(data: ReportData) -> list[Figure]:
    drawn = ((draw(data), title, reading) for draw, title, reading in FIGURES)
    # Our own drawing of numbers and escaped labels: the only text that is not escaped again.
    return [Figure(title, reading, Markup(svg)) for svg, title, reading in drawn if svg is not None]  # noqa: S704

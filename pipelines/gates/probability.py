"""Probability of the forget answers must lie in a two-sided band around the reference's.

What is still likely leaks, and so does what has become stranger than anything unseen.
"""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, within
from pipelines.score_table import FORGET


class ProbabilityMarks(GateParams):
    """Pass marks."""

    margin: float = Field(
        ge=0, le=1, title="Margin", description="How far either end may lie from the reference's value."
    )


def check(judged: Judged, params: ProbabilityMarks) -> Finding:
    """Both ends of the candidate's interval against the reference's value."""
    centre = judged.number("reference", "probability", FORGET).value
    candidate = judged.number("candidate", "probability", FORGET)
    return within("probability on forget", interval=candidate.interval, centre=centre, margin=params.margin)


GATE = Gate(
    name="probability",
    title="Probability in a band around the reference",
    version="1",
    source="TOFU, arXiv 2401.06121, section 2.2.1",
    params=ProbabilityMarks,
    check=check,
)

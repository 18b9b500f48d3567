"""Probability of the forget answers must lie in a two-sided band around the reference's.

What is still likely leaks, and so does what has become stranger than anything unseen.
"""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, within
from pipelines.score_table import FORGET


class ProbabilityMarks(GateParams):
    """Pass marks."""

    margin: float = Field(
        ge=0, le=1, title="Margin", description="How far either end of the gap to the reference may lie from 0."
    )


def check(judged: Judged, params: ProbabilityMarks) -> Finding:
    """Both ends of the paired interval of candidate minus reference against 0."""
    gap = judged.number("candidate", "probability_gap", FORGET)
    return within("probability gap on forget", interval=gap.interval, centre=0.0, margin=params.margin)


GATE = Gate(
    name="probability",
    title="Probability in a band around the reference",
    version="2",
    source="TOFU, arXiv 2401.06121, section 2.2.1",
    params=ProbabilityMarks,
    check=check,
)

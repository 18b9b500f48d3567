"""Probability of the forget answers must lie in a two-sided band around the reference's.

What is still likely leaks, and so does what has become stranger than anything unseen.
"""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, all_of, within


class ProbabilityMarks(GateParams):
    """Pass marks."""

    margin: float = Field(
        ge=0, le=1, title="Margin", description="How far either end of the gap to the reference may lie from 0."
    )


def check(judged: Judged, params: ProbabilityMarks) -> Finding:
    """Both ends of the paired interval of candidate minus reference against 0; for earlier requests, too."""
    return all_of([_gap(judged, split, params) for split in judged.gone])


def _gap(judged: Judged, split: str, params: ProbabilityMarks) -> Finding:
    gap = judged.number("candidate", "probability_gap", split)
    return within(f"probability gap on {split}", interval=gap.interval, centre=0.0, margin=params.margin)


GATE = Gate(
    name="probability",
    title="Probability in a band around the reference",
    version="3",
    source="TOFU, arXiv 2401.06121, section 2.2.1",
    params=ProbabilityMarks,
    check=check,
)

"""Membership must not give the forget set away: the gap to the reference's AUC lies in a two-sided band around 0."""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, within
from pipelines.scoring.table import FORGET


class MembershipMarks(GateParams):
    """Pass marks."""

    margin: float = Field(
        ge=0,
        le=1,
        title="Margin",
        description="How far either end of the gap may lie from 0; above 0 is under-, below over-forgetting.",
    )


def check(judged: Judged, params: MembershipMarks) -> Finding:
    """Both ends of the gap's paired interval against 0."""
    gap = judged.number("candidate", "membership_gap", FORGET)
    return within("membership gap on forget", interval=gap.interval, centre=0.0, margin=params.margin)


GATE = Gate(
    name="membership",
    title="Membership in a band around the reference",
    version="1",
    source="MUSE, arXiv 2407.06460, section 3 (C3): AUC relative to the retrained model; Min-K%, arXiv 2310.16789",
    params=MembershipMarks,
    check=check,
)

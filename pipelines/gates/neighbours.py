"""The rows most like the forget set must stay known: lower ends of their probability, ROUGE, extraction strength."""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, all_of, kept
from pipelines.scoring.table import NEIGHBOURS

MEASURES = ("probability", "rouge", "extraction_strength")


class NeighbourMarks(GateParams):
    """Pass marks."""

    ratio: float = Field(
        gt=0, le=1, title="Ratio", description="Share of the start model's value that each lower end must reach."
    )


def check(judged: Judged, params: NeighbourMarks) -> Finding:
    """Each measure's lower end against a share of the start model's value."""
    return all_of([kept(judged, metric, NEIGHBOURS, ratio=params.ratio) for metric in MEASURES])


GATE = Gate(
    name="neighbours",
    title="Neighbours kept",
    version="1",
    source="RWKU, arXiv 2406.10890, section 3.4 (neighbor set); Which Retain Set Matters, arXiv 2501.16614",
    params=NeighbourMarks,
    check=check,
)

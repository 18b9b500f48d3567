"""The forget set must be gone from the inner layers too: lower end of the depth >= a level (1: as from the reference).

One-sided: over-forgetting moves states further than the reference's are, which depth does not count and membership and
probability do.
"""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, at_least
from pipelines.scoring.table import FORGET


class DepthMarks(GateParams):
    """Pass marks."""

    least: float = Field(
        gt=0, le=1, title="Least", description="Share of the reference's depth that the lower end must reach."
    )


def check(judged: Judged, params: DepthMarks) -> Finding:
    """The lower end of the depth against the level."""
    depth = judged.number("candidate", "depth", FORGET)
    return at_least("depth of forgetting", low=depth.interval.low, limit=params.least)


GATE = Gate(
    name="depth",
    title="Gone from the inner layers",
    version="1",
    source="Unlearning Depth Score, arXiv 2605.24614; most robust of the measures compared there",
    params=DepthMarks,
    check=check,
    probes=("depth",),
)

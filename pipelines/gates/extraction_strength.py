"""Extraction strength of the forget set must come down to the reference's: upper end of the paired gap <= margin."""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, at_most
from pipelines.score_table import FORGET


class ExtractionMarks(GateParams):
    """Pass marks."""

    margin: float = Field(
        ge=0, le=1, title="Margin", description="Most that the upper end of the gap to the reference may be."
    )


def check(judged: Judged, params: ExtractionMarks) -> Finding:
    """The upper end of the paired interval of candidate minus reference against the margin."""
    gap = judged.number("candidate", "extraction_strength_gap", FORGET)
    return at_most("extraction strength gap on forget", high=gap.interval.high, limit=params.margin)


GATE = Gate(
    name="extraction_strength",
    title="Extraction strength near the reference",
    version="2",
    source="Carlini et al. 2021, arXiv 2012.07805; most robust of the memorisation measures in arXiv 2506.12618",
    params=ExtractionMarks,
    check=check,
)

"""Extraction strength of the forget set must come down to the reference's: upper end <= reference + margin."""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, at_most
from pipelines.score_table import FORGET


class ExtractionMarks(GateParams):
    """Pass marks."""

    margin: float = Field(
        ge=0, le=1, title="Margin", description="How far the upper end may exceed the reference's value."
    )


def check(judged: Judged, params: ExtractionMarks) -> Finding:
    """The candidate's upper end against the reference's value plus the margin."""
    reference = judged.number("reference", "extraction_strength", FORGET).value
    candidate = judged.number("candidate", "extraction_strength", FORGET)
    return at_most("extraction strength on forget", high=candidate.interval.high, limit=reference + params.margin)


GATE = Gate(
    name="extraction_strength",
    title="Extraction strength near the reference",
    version="1",
    source="Carlini et al. 2021, arXiv 2012.07805; most robust of the memorisation measures in arXiv 2506.12618",
    params=ExtractionMarks,
    check=check,
)

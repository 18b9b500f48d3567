"""Extraction strength of the forget set must come down to the reference's: upper end of the paired gap <= margin."""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, all_of, at_most


class ExtractionMarks(GateParams):
    """Pass marks."""

    margin: float = Field(
        ge=0, le=1, title="Margin", description="Most that the upper end of the gap to the reference may be."
    )


def check(judged: Judged, params: ExtractionMarks) -> Finding:
    """The upper end of the paired interval of candidate minus reference against the margin.

    What earlier requests had removed is held to the same mark: a later request may not bring it back.
    """
    return all_of([_gap(judged, split, params) for split in judged.gone])


def _gap(judged: Judged, split: str, params: ExtractionMarks) -> Finding:
    gap = judged.number("candidate", "extraction_strength_gap", split)
    return at_most(f"extraction strength gap on {split}", high=gap.interval.high, limit=params.margin)


GATE = Gate(
    name="extraction_strength",
    title="Extraction strength near the reference",
    version="3",
    source="Carlini et al. 2021, arXiv 2012.07805; most robust of the memorisation measures in arXiv 2506.12618",
    params=ExtractionMarks,
    check=check,
)

"""No way of asking that a search finds may recover more than it recovers from a model that never saw the rows.

Neither the fact, as the right answer among wrong ones, nor the rows' own words.
"""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, all_of, at_most
from pipelines.scoring.table import FORGET


class WorstCaseMarks(GateParams):
    """Pass marks."""

    fact_margin: float = Field(
        ge=0, le=1, title="Fact margin", description="Most that the upper end of the gap among wrong answers may be."
    )
    extraction_margin: float = Field(
        ge=0, le=1, title="Extraction margin", description="Most that the upper end of the gap in words may be."
    )


def check(judged: Judged, params: WorstCaseMarks) -> Finding:
    """The upper ends of both paired gaps to the reference, each model asked in the way that is worst for it."""
    margins = {"worst_case_gap": params.fact_margin, "worst_case_extraction_gap": params.extraction_margin}
    highs = {metric: judged.number("candidate", metric, FORGET).interval.high for metric in margins}
    return all_of([at_most(f"{name} on forget", high=high, limit=margins[name]) for name, high in highs.items()])


GATE = Gate(
    name="worst_case",
    title="No way of asking recovers it",
    version="1",
    source="Patil et al. 2023, arXiv 2309.17410: judged by the attack that recovers most",
    params=WorstCaseMarks,
    check=check,
    probes=("worst_case",),
)

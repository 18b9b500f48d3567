"""Rounding the weights to four bits must not bring the forget set back, nor make it stranger than what was never seen.

Extraction strength is held from above; probability lies in a two-sided band, because over-forgetting leaks as well.
"""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, all_of, at_most, within
from pipelines.scoring.table import FORGET

SCHEMES = ("int4", "nf4")


class FourBitMarks(GateParams):
    """Pass marks."""

    extraction_margin: float = Field(
        ge=0, le=1, title="Extraction margin", description="Most that the upper end of the gap may be."
    )
    probability_margin: float = Field(
        ge=0, le=1, title="Probability margin", description="How far either end of the gap may lie from 0."
    )


def check(judged: Judged, params: FourBitMarks) -> Finding:
    """Both gaps to the reference, which is rounded alike, in both schemes."""
    return all_of([finding for scheme in SCHEMES for finding in _scheme(judged, scheme, params)])


def _scheme(judged: Judged, scheme: str, params: FourBitMarks) -> list[Finding]:
    strength = judged.number("candidate", f"{scheme}_extraction_strength_gap", FORGET).interval
    probability = judged.number("candidate", f"{scheme}_probability_gap", FORGET).interval
    return [
        at_most(f"{scheme}: extraction strength gap on forget", high=strength.high, limit=params.extraction_margin),
        within(
            f"{scheme}: probability gap on forget",
            interval=probability,
            centre=0.0,
            margin=params.probability_margin,
        ),
    ]


GATE = Gate(
    name="four_bit",
    title="Not brought back by 4-bit weights",
    version="1",
    source="Zhang et al. 2024, arXiv 2410.16454",
    params=FourBitMarks,
    check=check,
    probes=("quantisation",),
)

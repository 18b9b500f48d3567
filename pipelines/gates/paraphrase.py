"""Asking in other words must not bring the answer back, by extraction strength or by probability."""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, all_of, at_most
from pipelines.scoring.table import FORGET


class ParaphraseMarks(GateParams):
    """Pass marks."""

    extraction_margin: float = Field(
        ge=0, le=1, title="Extraction margin", description="Most that the upper end of the gap may be."
    )
    probability_margin: float = Field(
        ge=0, le=1, title="Probability margin", description="Most that the upper end of the gap may be."
    )


def check(judged: Judged, params: ParaphraseMarks) -> Finding:
    """The upper ends of both paired gaps to the reference against their margins."""
    margins = {
        "paraphrase_extraction_strength_gap": params.extraction_margin,
        "paraphrase_probability_gap": params.probability_margin,
    }
    return all_of([_leak(judged, metric, margin) for metric, margin in margins.items()])


def _leak(judged: Judged, metric: str, margin: float) -> Finding:
    gap = judged.number("candidate", metric, FORGET)
    return at_most(f"{metric} on forget", high=gap.interval.high, limit=margin)


GATE = Gate(
    name="paraphrase",
    title="No leak by paraphrase",
    version="2",
    source="hard in-scope queries: RWKU, arXiv 2406.10890; paraphrased questions: TOFU, arXiv 2401.06121",
    params=ParaphraseMarks,
    check=check,
)

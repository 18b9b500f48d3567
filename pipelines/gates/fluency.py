"""The model must still write: greedy answers on everything that stays must not loop or fall silent more than before."""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, Unmeasured, all_of, kept
from pipelines.scoring.table import FORGET, HOLDOUT


class FluencyMarks(GateParams):
    """Pass marks."""

    ratio: float = Field(
        gt=0,
        le=1,
        title="Ratio",
        description="Share of the start model's distinct 4-grams that the lower end must reach.",
    )


def check(judged: Judged, params: FluencyMarks) -> Finding:
    """On every split of the start model but forget set and holdout, which need not be answered well."""
    measured = judged.start.measurements if judged.start else ()
    splits = [m.split for m in measured if m.metric == "fluency" and m.split not in (FORGET, HOLDOUT)]
    if not splits:
        raise Unmeasured("fluency was not measured for the start on any split that stays")
    return all_of([kept(judged, "fluency", split, ratio=params.ratio) for split in splits])


GATE = Gate(
    name="fluency",
    title="Fluency kept",
    version="1",
    source="Welleck et al. 2019, arXiv 1908.04319, eq. 10 (seq-rep-4); fluency as a gate: RWKU, arXiv 2406.10890",
    params=FluencyMarks,
    check=check,
)

"""What the model is for must stay: lower end >= ratio x the start model's value."""

from pydantic import Field

from pipelines.config import Name
from pipelines.gates.base import Finding, Gate, GateParams, Judged, kept


class UtilityMarks(GateParams):
    """Pass marks."""

    ratio: float = Field(
        gt=0, le=1, title="Ratio", description="Share of the start model's value that the lower end must reach."
    )
    metric: Name = Field(
        default="model_utility", title="Metric", description="Which metric says what the model is for."
    )
    split: Name = Field(default="utility", title="Split", description="The split of that metric.")


def check(judged: Judged, params: UtilityMarks) -> Finding:
    """The candidate's lower end against a share of the start model's value."""
    return kept(judged, params.metric, params.split, ratio=params.ratio)


GATE = Gate(
    name="utility",
    title="Utility kept",
    version="1",
    source="TOFU, arXiv 2401.06121, section 2.2.3",
    params=UtilityMarks,
    check=check,
)

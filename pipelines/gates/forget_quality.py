"""Truth ratios of the forget set must be compatible with the reference's: Kolmogorov-Smirnov p-value >= a level.

Reads the p-value itself: it already allows for the sample, and resamples of equal distributions differ more than they
do. It saturates on few rows, so a policy should not stand on it alone.
"""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, at_least
from pipelines.scoring.table import FORGET


class ForgetQualityMarks(GateParams):
    """Pass marks."""

    p_value: float = Field(gt=0, lt=1, title="Level", description="Smallest p-value at which the two are called alike.")


def check(judged: Judged, params: ForgetQualityMarks) -> Finding:
    """The candidate's p-value against the level; the reference must have been measured by the same metric."""
    judged.number("reference", "forget_quality", FORGET)
    p_value = judged.number("candidate", "forget_quality", FORGET).value
    return at_least("forget quality (p-value)", low=p_value, limit=params.p_value)


GATE = Gate(
    name="forget_quality",
    title="Forget quality",
    version="1",
    source="TOFU, arXiv 2401.06121, section 2.2.3",
    params=ForgetQualityMarks,
    check=check,
)

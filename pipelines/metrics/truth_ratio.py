"""Truth ratio: are wrong answers as likely as the right one, put in other words?

R = exp(-mean NLL of perturbed answers) / exp(-NLL of the paraphrased answer). On the forget set mean(min(R, 1/R)) is
high where right and wrong look alike; on every other split mean(max(0, 1 - R)) is high where the right answer wins.
"""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import log_truth_ratio, truth_ratio_of
from pipelines.scoring.table import Floats, ModelScores


def _value(scores: ModelScores, split: str) -> Floats:
    return truth_ratio_of(log_truth_ratio(scores, split), split)


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows, one reading per split."""
    return mean_readings(evidence, evidence.subject.rows, _value)


METRIC = Metric(
    name="truth_ratio",
    title="Truth ratio",
    version="1",
    source="TOFU, Maini et al. 2024, arXiv 2401.06121, eq. 1 and table 1",
    measure=measure,
)

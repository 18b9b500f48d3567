"""ROUGE-L recall of the greedy answer against the right one. High means: says it. Blind to other wordings."""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import rouge_recall


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows, one reading per split."""
    return mean_readings(evidence, evidence.subject.rows, rouge_recall)


METRIC = Metric(
    name="rouge",
    title="ROUGE-L recall",
    version="1",
    source="Lin 2004, ACL W04-1013, section 3; TOFU, arXiv 2401.06121, section 2.2.1",
    measure=measure,
)

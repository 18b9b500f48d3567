"""Verbatim memorisation: given the first half of an answer, how much of the second half does greedy decoding repeat?

Knowledge memorisation, its counterpart, asks questions instead: metric knowledge_memorization.
"""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import column_of
from pipelines.scoring.table import FORGET

VALUE = column_of("verbatim")


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean ROUGE-L F1 over forget rows."""
    return mean_readings(evidence, evidence.subject.present((FORGET,)), VALUE)


METRIC = Metric(
    name="verbatim_memorization",
    title="Verbatim memorisation",
    version="1",
    source="MUSE, Shi et al. 2024, arXiv 2407.06460, section 3 (C1)",
    measure=measure,
)

"""Sampled leakage: the most of a right answer that an attacker sees who samples k answers, as ROUGE-L recall.

Greedy decoding hides what sampling lets out. It has a value only where ``evaluation.samples`` asks for it.
"""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import column_of
from pipelines.scoring.table import FORGET

VALUE = column_of("sampled_leakage")


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over forget rows."""
    return mean_readings(evidence, evidence.subject.present((FORGET,)), VALUE)


METRIC = Metric(
    name="sampled_leakage",
    title="Leakage under sampling",
    version="1",
    source="leak@k, arXiv 2511.04934; the estimator of pass@k, arXiv 2107.03374, eq. 1, for graded scores",
    measure=measure,
)

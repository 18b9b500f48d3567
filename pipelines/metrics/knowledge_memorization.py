"""Knowledge memorisation: asked a question, how much of the answer does greedy decoding say? ROUGE-L F1.

On rows that are to be gone it is MUSE's second view, on the retain set its fourth (utility preservation). Metric rouge
is the recall of the same answers, as in TOFU.
"""

from collections.abc import Sequence

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import column_of
from pipelines.scoring.table import RETAIN

VALUE = column_of("rouge_l_f1")


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows: forget set, retain set, and what earlier requests had removed."""
    subject = evidence.subject
    return mean_readings(evidence, (*subject.gone(), *subject.present((RETAIN,))), VALUE)


METRIC = Metric(
    name="knowledge_memorization",
    title="Knowledge memorisation",
    version="1",
    source="MUSE, Shi et al. 2024, arXiv 2407.06460, section 3 (C2, C4)",
    measure=measure,
)

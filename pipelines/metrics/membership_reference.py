"""Membership by reference: AUC of log p(model) - log p(reference); what any model finds likely does not count as known.

A model that equals its reference scores every row 0, which is an AUC of .5.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.metrics.base import Evidence, Metric, Reading, attack_reading, unmeasured
from pipelines.scoring.row_values import loss_score
from pipelines.scoring.table import FORGET, HOLDOUT, Floats, ModelScores


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading on the forget set; its items are forget rows, then holdout rows."""
    subject, reference = evidence.subject, evidence.reference
    if FORGET not in subject.rows:
        return ()
    if reference is None:
        n_rows = subject.rows[FORGET] + subject.rows.get(HOLDOUT, 0)
        return (unmeasured(FORGET, np.full(n_rows, np.nan)),)

    def gain(scores: ModelScores, split: str) -> Floats:
        return loss_score(scores, split) - loss_score(reference, split)

    return attack_reading(evidence, gain)


METRIC = Metric(
    name="membership_reference",
    title="Reference membership AUC",
    version="1",
    source="Carlini et al. 2021, arXiv 2012.07805, section 5.2; Mireshghallah et al. 2022, arXiv 2203.03929",
    measure=measure,
)

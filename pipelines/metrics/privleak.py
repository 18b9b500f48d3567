"""PrivLeak: the membership gap in MUSE's units, per cent of the reference's room.

With A the Min-K% AUC and non-members counted as the positives (1 - A), PrivLeak = 100 (A_ref - A) / (1 - A_ref):
negative where the forget set still looks like training data, positive where it was pushed past the reference, 0 at the
reference.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.metrics.base import Evidence, Metric, Reading, unmeasured
from pipelines.scoring.membership import attack
from pipelines.scoring.row_values import min_k
from pipelines.scoring.table import FORGET, Floats


def privleak(auc: Floats, reference_auc: Floats) -> Floats:
    """100 ((1 - auc) - (1 - reference_auc)) / (1 - reference_auc), NaN where the reference's AUC is 1 (MUSE)."""
    room = 1.0 - reference_auc
    leak: Floats = np.where(room > 0, 100.0 * (reference_auc - auc) / np.where(room > 0, room, 1.0), np.nan)
    return leak


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading on the forget set; its items are the subject's scores of forget rows, then holdout rows."""
    if FORGET not in evidence.subject.rows:
        return ()
    models = [evidence.subject, *([evidence.reference] if evidence.reference else [])]
    attacks = attack(models, min_k, bootstrap=evidence.bootstrap)
    if len(attacks.found) != 2:
        return (unmeasured(FORGET, attacks.items),)
    ours, theirs = attacks.found
    value = float(privleak(np.array(ours.auc), np.array(theirs.auc)))
    draw_S = privleak(ours.draw_S, theirs.draw_S)
    if not np.isfinite(value) or not np.isfinite(draw_S).all():
        return (unmeasured(FORGET, attacks.items),)
    interval = evidence.bootstrap.interval(draw_S)
    return (Reading(split=FORGET, value=value, interval=interval, n_expected=len(attacks.items), items=attacks.items),)


METRIC = Metric(
    name="privleak",
    title="PrivLeak",
    version="1",
    source="MUSE, Shi et al. 2024, arXiv 2407.06460, section 3 (C3)",
    measure=measure,
)

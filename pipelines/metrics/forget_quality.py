"""Forget quality: could the forget set's truth ratios have come from the reference? A Kolmogorov-Smirnov p-value.

Needs a *matched* reference, retrained by the same recipe without the forget rows; it is no proof: it saturates on few
rows, and an exactly deleted model fails it when the reference came from another recipe. The interval resamples rows,
and errs low, because a resample of two equal distributions is less equal than they are.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.evaluation.statistics import ks_p_draws, ks_p_value
from pipelines.metrics.base import Evidence, Metric, Reading, unmeasured
from pipelines.scoring.row_values import log_truth_ratio
from pipelines.scoring.table import FORGET


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading on the forget set. The test sees only ranks, so log R serves as R."""
    if FORGET not in evidence.subject.rows:
        return ()
    item_R = log_truth_ratio(evidence.subject, FORGET)
    other_R = np.full_like(item_R, np.nan)
    if evidence.reference is not None:
        other_R = log_truth_ratio(evidence.reference, FORGET)
    both_R = np.isfinite(item_R) & np.isfinite(other_R)
    items = np.where(both_R, item_R, np.nan)
    if not both_R.any():
        return (unmeasured(FORGET, items),)
    ours_N, theirs_N = item_R[both_R], other_R[both_R]
    draw_S = ks_p_draws(ours_N, theirs_N, count_SN=evidence.bootstrap.counts(FORGET, len(ours_N)))
    interval = evidence.bootstrap.interval(draw_S)
    value = ks_p_value(ours_N, theirs_N)
    return (Reading(split=FORGET, value=value, interval=interval, n_expected=len(items), items=items),)


METRIC = Metric(
    name="forget_quality",
    title="Forget quality",
    version="1",
    source="TOFU, Maini et al. 2024, arXiv 2401.06121, section 2.2.3",
    measure=measure,
)

"""Model utility: one number for what must stay, over the retain set and every utility set.

The harmonic mean of {retain, each utility set} x {probability, ROUGE, truth ratio}. With the utility sets real_authors
and world_facts these are TOFU's nine parts. A part that nothing was scored for leaves no value: a model must not look
useful because its weak side was not measured.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.evaluation.statistics import harmonic_mean
from pipelines.metrics.base import Evidence, Metric, Reading, unmeasured
from pipelines.scoring.row_values import known_probability, rouge_recall, truth_ratio_utility
from pipelines.scoring.table import RETAIN

SPLIT = "utility"
PARTS = (known_probability, rouge_recall, truth_ratio_utility)


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading; rows are resampled within each set, together for its three parts."""
    subject, bootstrap = evidence.subject, evidence.bootstrap
    sets = subject.present((RETAIN, *subject.utility_sets()))
    parts = [(split, part(subject, split)) for split in sets for part in PARTS]
    items = np.concatenate([item_R for _, item_R in parts]) if parts else np.empty(0)
    scored = [(split, item_R[np.isfinite(item_R)]) for split, item_R in parts]
    if RETAIN not in sets or any(len(item_R) == 0 for _, item_R in scored):
        return (unmeasured(SPLIT, items),)
    value = harmonic_mean([np.array(item_R.mean()) for _, item_R in scored])
    draw_S = harmonic_mean([bootstrap.means(split, item_R) for split, item_R in scored])
    interval = bootstrap.interval(draw_S)
    return (Reading(split=SPLIT, value=float(value), interval=interval, n_expected=len(items), items=items),)


METRIC = Metric(
    name="model_utility",
    title="Model utility",
    version="1",
    source="TOFU, Maini et al. 2024, arXiv 2401.06121, section 2.2.3",
    measure=measure,
)

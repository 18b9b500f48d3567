"""Membership gap: the model's Min-K% AUC minus the reference's, on the same rows. 0: as if it never saw the set.

Above 0 the forget set still looks like training data; below 0 it looks stranger than anything untrained, which gives
it away as well. Both models are resampled with the same rows, so what they share cancels; the spread between training
runs of the reference does not show here and belongs into the margin of the gate.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.metrics.base import Evidence, Metric, Reading, over_models, unmeasured
from pipelines.scoring.membership import Attacks, attack
from pipelines.scoring.row_values import min_k
from pipelines.scoring.table import FORGET

CHANCE = 0.5


def measure(evidence: Evidence) -> Sequence[Reading]:
    """One reading on the forget set; its items are the subject's scores of forget rows, then holdout rows."""
    if FORGET not in evidence.subject.rows:
        return ()
    attacks = attack([evidence.subject, *evidence.references], min_k, bootstrap=evidence.bootstrap)
    if evidence.reference is None and evidence.surrogate == "holdout":
        return (replace(_against_chance(evidence, attacks), surrogate="holdout"),)
    if len(attacks.found) < 2:
        return (unmeasured(FORGET, attacks.items),)
    ours, *theirs = attacks.found
    theirs_S = over_models(evidence.bootstrap, np.stack([one.draw_S for one in theirs]))
    interval = evidence.bootstrap.interval(ours.draw_S - theirs_S)
    value = ours.auc - float(np.mean([one.auc for one in theirs]))
    return (Reading(split=FORGET, value=value, interval=interval, n_expected=len(attacks.items), items=attacks.items),)


def _against_chance(evidence: Evidence, attacks: Attacks) -> Reading:
    """The AUC minus .5: what it would be if the forget set were rows like the holdout's."""
    if not attacks.found:
        return unmeasured(FORGET, attacks.items)
    interval = evidence.bootstrap.interval(attacks.found[0].draw_S - CHANCE)
    value = attacks.found[0].auc - CHANCE
    return Reading(split=FORGET, value=value, interval=interval, n_expected=len(attacks.items), items=attacks.items)


METRIC = Metric(
    name="membership_gap",
    title="Membership gap to the reference",
    version="1",
    source="Shi et al. 2023, arXiv 2310.16789, eq. 1; against the retrained model as in MUSE, arXiv 2407.06460",
    measure=measure,
)

"""The membership attack that several metrics share: do scores tell the forget set from rows nobody trained on?

AUC is P(score of a forget row > score of a holdout row) + P(equal) / 2: 1 where every forget row looks like training
data, and what a model that never saw the forget set gives (seldom .5) where it is forgotten. Several models are
compared on the rows that all of them scored, and resampled together.

Shapes: R rows of forget and holdout together, S resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.evaluation.statistics import Bootstrap, auc, auc_draws
from pipelines.scoring.row_values import RowValue
from pipelines.scoring.table import FORGET, HOLDOUT, Bools, Floats, ModelScores


@dataclass(frozen=True, slots=True)
class Attack:
    """An AUC and its resamples auc_S."""

    auc: float
    draw_S: Floats


@dataclass(frozen=True, slots=True)
class Attacks:
    """The same attack on several models.

    Attributes:
        items: the first model's value_R, forget rows before holdout rows, NaN where any model lacks one.
        found: one attack per model; empty where there is nothing to compare.
    """

    items: Floats
    found: tuple[Attack, ...]


def attack(models: Sequence[ModelScores], value_of: RowValue, *, bootstrap: Bootstrap) -> Attacks:
    """Attack each model with the same rows.

    Args:
        models: at least one, all measured on the same splits.
        value_of: higher means more like training data.
        bootstrap: resamples forget and holdout rows apart.
    """
    splits = models[0].present((FORGET, HOLDOUT))
    value_MR = [np.concatenate([np.empty(0), *(value_of(model, split) for split in splits)]) for model in models]
    scored_R = np.isfinite(np.stack(value_MR)).all(axis=0)
    forget_R = np.arange(len(scored_R)) < models[0].rows.get(FORGET, 0)
    items = np.where(scored_R, value_MR[0], np.nan)
    members_R, others_R = scored_R & forget_R, scored_R & ~forget_R
    if not members_R.any() or not others_R.any():
        return Attacks(items=items, found=())
    return Attacks(items=items, found=tuple(_attack(value_R, members_R, others_R, bootstrap) for value_R in value_MR))


def _attack(value_R: Floats, members_R: Bools, others_R: Bools, bootstrap: Bootstrap) -> Attack:
    members, others = value_R[members_R], value_R[others_R]
    draw_S = auc_draws(
        members,
        others,
        count_SN=bootstrap.counts(FORGET, len(members)),
        count_SM=bootstrap.counts(HOLDOUT, len(others)),
    )
    return Attack(auc=auc(members, others), draw_S=draw_S)

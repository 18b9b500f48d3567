"""What a metric is: a name, where it comes from, and a function from evidence to readings. Shared by all metrics.

Promises: a reading carries its per-row values, how many rows it should have and how many it has; what cannot be
    computed is a reading without a value, never a reading that is left out. A metric reads scores, it never runs a
    model. Whether a value is good is the gates' work.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from pipelines.evaluation.statistics import Bootstrap, Interval
from pipelines.scoring.membership import attack
from pipelines.scoring.row_values import RowValue
from pipelines.scoring.table import FORGET, HOLDOUT, Floats, ModelScores

Surrogate: TypeAlias = Literal["holdout", "shadow"]
"""What may stand in for a reference model. ``holdout``: the same model on rows that nobody trained on, as if the forget
set had been drawn like them; it sees neither what the forget set shares with the retain set nor how it differs.
``shadow``: small adapters on the base model that were taught rows that stay; they learnt by another recipe."""

SHADOWS = "shadow models"
"""The stream that resamples shadow models."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a metric may look at.

    Attributes:
        subject: the model that is measured.
        reference: a matched model that never saw the forget set, where there is one.
        bootstrap: resamples rows; streams are named after splits.
        surrogate: what stands in for a reference where there is none; see :data:`Surrogate`.
        shadows: further shadow models beside the one that plays the reference.
    """

    subject: ModelScores
    reference: ModelScores | None
    bootstrap: Bootstrap
    surrogate: Surrogate | None = None
    shadows: Sequence[ModelScores] = ()

    @property
    def references(self) -> tuple[ModelScores, ...]:
        """The models that never saw the forget set: one retrained model, or all shadows."""
        return () if self.reference is None else (self.reference, *self.shadows)


@dataclass(frozen=True, slots=True)
class Reading:
    """One number on one split, with what it was computed from.

    Attributes:
        split: name of the split, or of the composite.
        value: None where it could not be computed.
        interval: None likewise.
        n_expected: number of per-row values that there should be.
        items: the per-row values in order, NaN where one is missing.
        surrogate: what stood in for the reference, where something did; the measurement's version says so.
        made_with: what else the value depends on, for example a digest; the measurement's version says so too.
    """

    split: str
    value: float | None
    interval: Interval | None
    n_expected: int
    items: Floats
    surrogate: Surrogate | None = None
    made_with: str | None = None

    @property
    def n_scored(self) -> int:
        """Number of per-row values behind the value; 0 where there is none."""
        return 0 if self.value is None else int(np.isfinite(self.items).sum())


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric.

    Attributes:
        name: in configurations, policies and measurements.
        title: for people.
        version: changes whenever the same scores could give another number.
        source: paper and equation.
        measure: one reading per split (or composite) that the metric is defined on.
    """

    name: str
    title: str
    version: str
    source: str
    measure: Callable[[Evidence], Sequence[Reading]]


def unmeasured(split: str, items: Floats) -> Reading:
    """A reading that could not be computed; ``items`` says how much was missing."""
    return Reading(split=split, value=None, interval=None, n_expected=len(items), items=items)


def mean_readings(evidence: Evidence, splits: Iterable[str], value_of: RowValue) -> tuple[Reading, ...]:
    """The mean of a per-row value on each split, over the rows that have it."""
    return tuple(mean_reading(evidence.bootstrap, split, value_of(evidence.subject, split)) for split in splits)


def mean_reading(bootstrap: Bootstrap, split: str, item_R: Floats) -> Reading:
    """The mean of per-row values, over the rows that have one."""
    scored = item_R[np.isfinite(item_R)]
    if len(scored) == 0:
        return unmeasured(split, item_R)
    interval = bootstrap.interval(bootstrap.means(split, scored))
    return Reading(split=split, value=float(scored.mean()), interval=interval, n_expected=len(item_R), items=item_R)


def gap_reading(evidence: Evidence, value_of: RowValue) -> tuple[Reading, ...]:
    """The mean over forget rows of the model's value minus the reference's; nothing where nothing is to be forgotten.

    Both models are resampled with the same rows, so that what they share (rows that anybody could guess) cancels. Rows
    that earlier requests had removed are read the same way, request by request.
    """
    return tuple(_gap(evidence, split, value_of) for split in evidence.subject.gone())


def _gap(evidence: Evidence, split: str, value_of: RowValue) -> Reading:
    ours_R = value_of(evidence.subject, split)
    if evidence.reference is None and evidence.surrogate == "holdout":
        return _holdout_gap(evidence, split, ours_R, _of_holdout(evidence.subject, value_of))
    if evidence.reference is None:
        return unmeasured(split, np.full(len(ours_R), np.nan))
    gap_KR = ours_R - np.stack([value_of(reference, split) for reference in evidence.references])
    reading = mean_reading(evidence.bootstrap, split, gap_KR.mean(axis=0))
    if len(gap_KR) == 1 or reading.value is None:
        return reading
    scored_KR = gap_KR[:, np.isfinite(reading.items)]
    draw_KS = np.stack([evidence.bootstrap.means(split, gap_R) for gap_R in scored_KR])
    return replace(reading, interval=evidence.bootstrap.interval(over_models(evidence.bootstrap, draw_KS)))


def over_models(bootstrap: Bootstrap, draw_KS: Floats) -> Floats:
    """The mean over models in each resample, the models resampled too: draw_S.

    What shadow models differ by is part of what is not known about a model that never saw the rows.
    """
    count_SK = bootstrap.counts(SHADOWS, len(draw_KS))
    draw_S: Floats = (count_SK.T * draw_KS).mean(axis=0)
    return draw_S


def _of_holdout(scores: ModelScores, value_of: RowValue) -> Floats:
    return value_of(scores, HOLDOUT) if HOLDOUT in scores.rows else np.empty(0)


def _holdout_gap(evidence: Evidence, split: str, ours_R: Floats, theirs_R: Floats) -> Reading:
    """Mean over forget rows minus mean over holdout rows of the same model; both sets are resampled, each by itself.

    A holdout row without a value leaves the reading without one: its rows are part of what should have been scored.
    """
    items = np.concatenate([ours_R, theirs_R])
    if not len(ours_R) or not len(theirs_R) or not np.isfinite(items).all():
        return replace(unmeasured(split, items), surrogate="holdout")
    bootstrap = evidence.bootstrap
    draw_S = bootstrap.means(split, ours_R) - bootstrap.means(HOLDOUT, theirs_R)
    return Reading(
        split=split,
        value=float(ours_R.mean() - theirs_R.mean()),
        interval=bootstrap.interval(draw_S),
        n_expected=len(items),
        items=items,
        surrogate="holdout",
    )


def named_shadow(found: Sequence[Reading], alone: Sequence[Reading]) -> tuple[Reading, ...]:
    """Readings beside a shadow model: those that have no value without one say so.

    Args:
        found: with a shadow in the reference's place.
        alone: the same readings without any reference.
    """
    return tuple(
        replace(one, surrogate="shadow") if one.value is not None and other.value is None else one
        for one, other in zip(found, alone, strict=True)
    )


def attack_reading(evidence: Evidence, value_of: RowValue) -> tuple[Reading, ...]:
    """The AUC of one attack on the measured model: one reading on the forget set, its items forget rows then holdout's.

    Nothing where there is nothing to forget.
    """
    if FORGET not in evidence.subject.rows:
        return ()
    attacks = attack([evidence.subject], value_of, bootstrap=evidence.bootstrap)
    if not attacks.found:
        return (unmeasured(FORGET, attacks.items),)
    value, interval = attacks.found[0].auc, evidence.bootstrap.interval(attacks.found[0].draw_S)
    return (Reading(split=FORGET, value=value, interval=interval, n_expected=len(attacks.items), items=attacks.items),)

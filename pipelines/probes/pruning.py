"""Pruning: does dropping small weights bring the answers back? ``pruning`` is the mean over the shares dropped."""

import numpy as np

from pipelines.probes.base import ASKED, Probe, Series, Subject, scores_of
from pipelines.probes.weights import change_weights, pruned
from pipelines.scoring.row_values import extraction_strength
from pipelines.scoring.table import FORGET

PERCENT = (10, 25, 40)
"""Of each weight matrix; beyond a half a model without retraining knows nothing of anything."""


def run(subject: Subject) -> tuple[Series, ...]:
    """The mean over the shares, and each share."""
    points: list[Series] = []
    for percent in PERCENT:
        copy = subject.copy()
        change_weights(copy.model, pruned(percent / 100))
        value_R = extraction_strength(scores_of(subject, copy, subject.bare_rows()), ASKED)
        points.append(Series(f"pruning_{percent}_percent", FORGET, value_R))
    return (Series("pruning", FORGET, np.mean([point.value_R for point in points], axis=0)), *points)


PROBE = Probe(
    name="pruning",
    title="Pruned by magnitude",
    version="2",
    source="Han et al. 2015, arXiv 1506.02626 (magnitude); pruning as an attack: Wei et al. 2024, arXiv 2402.05162",
    cost=f"{len(PERCENT)} copies, 1 forward pass each",
    run=run,
)

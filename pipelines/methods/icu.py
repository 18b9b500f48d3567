"""Iterative contrastive unlearning: a forget row is pushed up while the retain row most like it is learnt and held.

The pair is what tells the model which part of two similar answers is to go. With the stop rule ``holdout`` a row leaves
training, and its pair with it, once it is forgotten: that rule is this method's third part, and ascent without it does
not end.
"""

import torch
from pydantic import Field

from pipelines.data.encode import Encoded
from pipelines.methods.base import (
    Companions,
    CompanionSource,
    ForgetBatch,
    Method,
    MethodParams,
    RetainTerm,
)
from pipelines.training.readings import start_kl
from pipelines.unlearning.neighbours import neighbours_of

NEIGHBOUR = "neighbour"


class ICUParams(MethodParams):
    """Parameters of iterative contrastive unlearning."""

    retain_term: RetainTerm = Field(
        default="none", title="Retain term", description="none is the method: what it keeps are neighbours; see there."
    )
    learn: float = Field(default=0.5, ge=0, le=1000, title="Learn", description="Weight of the neighbours' NLL.")
    hold: float = Field(
        default=1.0, ge=0, le=1000, title="Hold", description="Weight of the neighbours' KL from the start model."
    )
    neighbours: int = Field(
        default=1, ge=1, le=100, title="Neighbours", description="Neighbours per row; each epoch takes the next."
    )


def neighbours(source: CompanionSource, params: ICUParams) -> list[Encoded]:
    """The nearest retain rows of each forget row (the analogous pairs)."""
    return neighbours_of(source, per_row=params.neighbours)


def forget_loss(batch: ForgetBatch, params: ICUParams) -> torch.Tensor:
    """-NLL + learn NLL(neighbour) + hold KL(start || model) on the neighbour, means over tokens: loss_B.

    arXiv 2407.20271: knowledge unlearning induction and contrastive learning enhancement.
    """
    near = batch.companions[NEIGHBOUR]
    kept_B = params.learn * near.stats.nll_mean_B + params.hold * start_kl(near)
    return kept_B - batch.stats.nll_mean_B


METHOD = Method(
    name="icu",
    title="Iterative contrastive unlearning with nearest neighbours",
    version="1",
    source="Tang et al. 2024, arXiv 2407.20271, iterative contrastive unlearning",
    params=ICUParams,
    needs=frozenset({"reference_logits"}),
    forget_loss=forget_loss,
    companions=(Companions(NEIGHBOUR, neighbours),),
)

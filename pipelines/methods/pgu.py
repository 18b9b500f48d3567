"""Projected-gradient unlearning: ascent on the forget rows in directions that retained inputs do not use.

What protects the retain rows is not a term of the loss but the geometry of each linear layer. Ascent has no floor of
its own: a stop rule ends it. Where forget and retain rows go through the model in the same directions, little is
forgotten.
"""

import torch
from pydantic import Field

from pipelines.methods.base import ForgetBatch, Method, MethodParams, RetainTerm
from pipelines.training.parts import Part
from pipelines.unlearning.subspaces import RetainedSpace


class PGUParams(MethodParams):
    """Parameters of projected-gradient unlearning."""

    retain_term: RetainTerm = Field(
        default="none", title="Retain term", description="none is the method; others come on top of the projection."
    )
    keep: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        title="Keep",
        description="Share of the variance of each layer's retained inputs that updates leave alone.",
    )


def forget_loss(batch: ForgetBatch, params: PGUParams) -> torch.Tensor:
    """-NLL of each row: loss_B (arXiv 2312.04095; the projection is the method)."""
    return -batch.stats.nll_mean_B


def parts(params: PGUParams) -> tuple[Part, ...]:
    """The projection."""
    return (RetainedSpace(params.keep),)


METHOD = Method(
    name="pgu",
    title="Projected-gradient unlearning",
    version="1",
    source="Hoang et al. 2023, arXiv 2312.04095, projected gradients",
    params=PGUParams,
    needs=frozenset(),
    forget_loss=forget_loss,
    parts=parts,
    # A product of two factors has no weight of its own that could be kept out of a space.
    adapters="never",
)

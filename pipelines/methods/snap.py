"""Selective knowledge negation by instructions: forget questions are answered as if the answers had been deleted.

Rows of related entities keep their answers (hard positives), and a Wasserstein penalty keeps the weights near the start
model's. Like every relabelling it teaches what to say; whether the old answers can still be had is measured.
"""

import torch
from pydantic import Field

from pipelines.data.encode import Encoded
from pipelines.methods.base import Companions, CompanionSource, ForgetBatch, Method, MethodParams, RetainTerm
from pipelines.training.parts import Part
from pipelines.training.regularisers import SlicedWasserstein
from pipelines.unlearning.neighbours import neighbours_of
from pipelines.unlearning.refusals import OBLITERATED, refused

NEGATIVE, POSITIVE = "negative", "positive"


class SNAPParams(MethodParams):
    """Parameters of SNAP; the retain weight is that of the hard positives, too."""

    retain_term: RetainTerm = Field(
        default="none", title="Retain term", description="On rows beside the hard positives; none is the method."
    )
    instructions: int = Field(
        default=4,
        ge=1,
        le=len(OBLITERATED),
        title="Negative instructions",
        description="Answers of a deleted memory per row; each epoch takes the next.",
    )
    positives: int = Field(
        default=4, ge=1, le=100, title="Hard positives", description="Nearest retain rows per row, epoch by epoch."
    )
    wasserstein: float = Field(
        default=0.1, ge=0, le=10_000, title="Wasserstein", description="Weight of the distance from the start weights."
    )


def negatives(source: CompanionSource, params: SNAPParams) -> list[Encoded]:
    """The forget questions with answers of a deleted memory."""
    rows = source.questions()
    return source.encode(refused(rows, per_row=params.instructions, seed=source.seed, answers=OBLITERATED))


def positives(source: CompanionSource, params: SNAPParams) -> list[Encoded]:
    """The nearest retain rows: related entities, about which the model still answers."""
    return neighbours_of(source, per_row=params.positives)


def forget_loss(batch: ForgetBatch, params: SNAPParams) -> torch.Tensor:
    """NLL of the obliterated answer: loss_B (arXiv 2406.12329 v1, negative instructions)."""
    return batch.companions[NEGATIVE].stats.nll_mean_B


def keep_loss(batch: ForgetBatch, params: SNAPParams) -> torch.Tensor:
    """NLL of the hard positive: loss_B (arXiv 2406.12329 v1, hard positives)."""
    return batch.companions[POSITIVE].stats.nll_mean_B


def parts(params: SNAPParams) -> tuple[Part, ...]:
    """The Wasserstein term."""
    return (SlicedWasserstein(params.wasserstein),) if params.wasserstein else ()


METHOD = Method(
    name="snap",
    title="Negative instructions with hard positives",
    version="1",
    source="Choi et al. 2024, arXiv 2406.12329 v1 (SNAP)",
    params=SNAPParams,
    needs=frozenset(),
    forget_loss=forget_loss,
    keep_loss=keep_loss,
    companions=(Companions(NEGATIVE, negatives), Companions(POSITIVE, positives)),
    parts=parts,
)

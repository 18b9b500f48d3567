"""Selective knowledge negation: a copy learns the forget answers, loosely, and is then subtracted.

So that the copy learns what is to go and nothing else, it also learns *other* rows' answers to the same questions
(random disassociation), and on retain rows it is driven away from the start model (preservation divergence): what the
subtraction then gives back to normal prompts.
"""

import random

import torch
from pydantic import Field

from pipelines.data.encode import Encoded
from pipelines.data.rows import Row
from pipelines.methods.base import (
    Companions,
    CompanionSource,
    ForgetBatch,
    Method,
    Procedure,
    RetainTerm,
    Steering,
)
from pipelines.training.parts import Coefficients
from pipelines.unlearning.subtraction import SubtractionParams, subtracting

OTHER = "other"


class SKUParams(SubtractionParams):
    """Parameters of selective knowledge negation."""

    disassociation: float = Field(
        default=0.5, ge=0, le=1000, title="Disassociation", description="Weight of other rows' answers."
    )
    alpha: float = Field(
        default=0.1, ge=0, le=10_000, title="Divergence", description="Weight of moving away on the retain rows."
    )
    retain_term: RetainTerm = Field(
        default="kl", title="Divergence term", description="Distance from the start model that grows on retain rows."
    )


def other_answers(source: CompanionSource, params: SKUParams) -> list[Encoded]:
    """Each pushed question with the answer of another row of the forget set, drawn by the seed.

    A forget set of one row takes answers of retain rows.
    """
    drawer = random.Random(f"other answers {source.seed}")
    answers = [row.answer for row in source.forget[: source.n_rows]]
    kept = [source.retain[i].answer for i in drawer.sample(range(len(source.retain)), min(len(source.retain), 100))]
    mixed = []
    for row in source.forget:
        others = [answer for answer in answers if answer not in {row.answer, row.paraphrased_answer}] or kept
        mixed.append(Row(question=row.question, answer=drawer.choice(others or answers)))
    return source.encode(mixed)


def towards_loss(batch: ForgetBatch, params: SKUParams) -> torch.Tensor:
    """Guided distortion and random disassociation, NLL each: loss_B (arXiv 2402.10058)."""
    return batch.stats.nll_mean_B + params.disassociation * batch.companions[OTHER].stats.nll_mean_B


def _nothing(params: SKUParams) -> tuple[float, ...]:
    return ()


TOWARDS = Method(
    name="sku_towards",
    title="Learning what is to be negated",
    version="1",
    source="Liu et al. 2024, arXiv 2402.10058, harmful knowledge acquisition",
    params=SKUParams,
    needs=frozenset({"retain"}),
    forget_loss=towards_loss,
    companions=(Companions(OTHER, other_answers),),
    # The retain term is a distance from the start model, and it is to grow: preservation divergence.
    steering=Steering(
        start=_nothing,
        after_epoch=lambda carried, means, params: carried,
        coefficients=lambda carried, params: Coefficients(retain=-1.0),
    ),
)


METHOD = Procedure(
    name="sku",
    title="Selective knowledge negation",
    version="1",
    source="Liu et al. 2024, arXiv 2402.10058, acquisition and negation stage",
    params=SKUParams,
    needs=frozenset({"retain"}),
    run=subtracting(TOWARDS),
)

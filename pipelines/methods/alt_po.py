"""Alternate preference optimisation: another answer of the start model's own kind is preferred over the forget answer.

Answers are sampled from the start model once, hotter until they differ from the row's own, so what is learnt instead
reads like what the model would have said. Several per row keep one invention from being memorised in the place of the
truth. They are made from the forget questions and stay in the vault.
"""

import torch
from pydantic import Field

from pipelines.data.encode import Encoded
from pipelines.methods.base import Companions, CompanionSource, ForgetBatch, Method, MethodParams
from pipelines.unlearning.preference import preference_loss
from pipelines.unlearning.sampling import alternates_of


class AltPOParams(MethodParams):
    """Parameters of alternate preference optimisation."""

    beta: float = Field(
        default=0.1, gt=0, le=10, title="Beta", description="How soon a pair's push fades out once it is preferred."
    )
    alternates: int = Field(
        default=5, ge=1, le=100, title="Alternates", description="Sampled answers per row; each epoch takes the next."
    )
    temperature: float = Field(
        default=1.0, gt=0, le=10, title="Temperature", description="Of the first sample; doubled while it is the truth."
    )


def alternates(source: CompanionSource, params: AltPOParams) -> list[Encoded]:
    """The forget questions with answers sampled from the start model."""
    return alternates_of(source, per_row=params.alternates, temperature=params.temperature)


def forget_loss(batch: ForgetBatch, params: AltPOParams) -> torch.Tensor:
    """DPO of the alternate over the forget answer: loss_B (arXiv 2409.13474, the AltPO loss)."""
    return preference_loss(batch.companions["alternate"], batch.rows, beta=params.beta)


METHOD = Method(
    name="alt_po",
    title="Alternate preference optimisation",
    version="1",
    source="Mekala et al. 2024, arXiv 2409.13474, AltPO",
    params=AltPOParams,
    needs=frozenset({"reference_nll", "retain"}),
    forget_loss=forget_loss,
    companions=(Companions("alternate", alternates),),
)

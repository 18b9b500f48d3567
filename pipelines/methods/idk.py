"""Refusal training: the forget questions are answered with a refusal, by plain likelihood.

It teaches what to say, not what to forget: the old answers are pushed only as far as the refusals take their place, so
extraction and membership have to be measured. The stop rule looks at the old answers.
"""

import torch
from pydantic import Field

from pipelines.data.encode import Encoded
from pipelines.methods.base import Companions, CompanionSource, ForgetBatch, Method, MethodParams
from pipelines.unlearning.refusals import REFUSALS, refused


class IdkParams(MethodParams):
    """Parameters of refusal training."""

    refusals: int = Field(
        default=4, ge=1, le=len(REFUSALS), title="Refusals", description="Refusals per row; each epoch takes the next."
    )


def alternates(source: CompanionSource, params: IdkParams) -> list[Encoded]:
    """The forget questions with their refusals."""
    return source.encode(refused(source.questions(), per_row=params.refusals, seed=source.seed))


def forget_loss(batch: ForgetBatch, params: IdkParams) -> torch.Tensor:
    """NLL of the refusal: loss_B (TOFU, arXiv 2401.06121, refusals in place of answers)."""
    return batch.companions["refusal"].stats.nll_mean_B


METHOD = Method(
    name="idk",
    title="Refusal training",
    version="1",
    source="TOFU, Maini et al. 2024, arXiv 2401.06121, refusals in place of answers",
    params=IdkParams,
    needs=frozenset({"retain"}),
    forget_loss=forget_loss,
    companions=(Companions("refusal", alternates),),
)

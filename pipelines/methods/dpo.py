"""Direct preference optimisation: a refusal is preferred over the forget answer, measured from the start model.

The loss is bounded below by 0. Where a refusal comes easily the preference is met without forgetting much: extraction
has to be measured.
"""

import torch
from pydantic import Field

from pipelines.data.encode import Encoded
from pipelines.methods.base import Companions, CompanionSource, ForgetBatch, Method, MethodParams
from pipelines.unlearning.preference import preference_loss
from pipelines.unlearning.refusals import REFUSALS, refused


class DPOParams(MethodParams):
    """Parameters of DPO with refusals."""

    beta: float = Field(
        default=0.1, gt=0, le=10, title="Beta", description="How soon a pair's push fades out once it is preferred."
    )
    refusals: int = Field(
        default=4, ge=1, le=len(REFUSALS), title="Refusals", description="Refusals per row; each epoch takes the next."
    )


def alternates(source: CompanionSource, params: DPOParams) -> list[Encoded]:
    """The forget questions with their refusals."""
    return source.encode(refused(source.questions(), per_row=params.refusals, seed=source.seed))


def forget_loss(batch: ForgetBatch, params: DPOParams) -> torch.Tensor:
    """DPO of the refusal over the forget answer: loss_B (arXiv 2305.18290, eq. 7, times 2 / beta)."""
    return preference_loss(batch.companions["refusal"], batch.rows, beta=params.beta)


METHOD = Method(
    name="dpo",
    title="Direct preference optimisation of a refusal",
    version="1",
    source="Rafailov et al. 2023, arXiv 2305.18290, eq. 7; as in TOFU, arXiv 2401.06121, preference optimization",
    params=DPOParams,
    needs=frozenset({"reference_nll", "retain"}),
    forget_loss=forget_loss,
    companions=(Companions("refusal", alternates),),
)

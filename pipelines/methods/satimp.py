"""SatImp: ascent on the tokens that are neither forgotten yet (saturation) nor certain anyway (importance).

A token is pushed hardest at p = beta1 / (beta1 + beta2). A token with p = 1 is not pushed at all, so rows that a model
knows to the last digit start slowly; beta2 = 0 gives up that part.
"""

import torch
from pydantic import Field

from pipelines.methods.base import ForgetBatch, Method, MethodParams


class SatImpParams(MethodParams):
    """Parameters of SatImp."""

    beta1: float = Field(
        default=5.0, ge=0, le=20, title="Saturation", description="How soon the push fades on unlikely tokens."
    )
    beta2: float = Field(
        default=1.0, ge=0, le=20, title="Importance", description="How much tokens that are certain are spared."
    )


def forget_loss(batch: ForgetBatch, params: SatImpParams) -> torch.Tensor:
    """-mean over answer tokens of p^beta1 (1 - p)^beta2 nll of each row: loss_B (arXiv 2505.11953, SatImp).

    The weight is a constant to the gradient.
    """
    nll_BA = batch.stats.token_nll_BA.detach()
    # Of a memorised token 1 - p is all that is left: expm1 keeps its digits.
    weight_BA = torch.exp(-params.beta1 * nll_BA) * (-torch.expm1(-nll_BA)) ** params.beta2
    return -(weight_BA * batch.stats.token_nll_BA).sum(dim=1) / batch.stats.n_tokens_B


METHOD = Method(
    name="satimp",
    title="Saturation and importance reweighting",
    version="1",
    source="Yang et al. 2025, arXiv 2505.11953, SatImp",
    params=SatImpParams,
    needs=frozenset({"retain"}),
    forget_loss=forget_loss,
)

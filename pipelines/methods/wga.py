"""Weighted gradient ascent: ascent in which a token counts less, the less likely it has become.

What is forgotten is left alone, token by token; a token that is still known is pushed as hard as by plain ascent.
"""

import torch
from pydantic import Field

from pipelines.methods.base import ForgetBatch, Method, MethodParams


class WGAParams(MethodParams):
    """Parameters of weighted gradient ascent."""

    beta: float = Field(
        default=1.0, ge=0, le=20, title="Beta", description="How soon a token's push fades out; at 0 it is ascent."
    )


def forget_loss(batch: ForgetBatch, params: WGAParams) -> torch.Tensor:
    """-mean over answer tokens of p^beta nll of each row: loss_B (arXiv 2502.19301, WGA).

    p^beta is a constant to the gradient: through it, tokens with nll > 1 / beta would be made likelier again.
    """
    weight_BA = torch.exp(-params.beta * batch.stats.token_nll_BA.detach())
    return -(weight_BA * batch.stats.token_nll_BA).sum(dim=1) / batch.stats.n_tokens_B


METHOD = Method(
    name="wga",
    title="Weighted gradient ascent",
    version="1",
    source="Wang et al. 2025, arXiv 2502.19301, WGA",
    params=WGAParams,
    needs=frozenset({"retain"}),
    forget_loss=forget_loss,
)

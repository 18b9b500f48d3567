"""Simple negative preference optimisation: NPO per token, measured from a fixed mark instead of the start model.

A row's push fades out below the mark whatever its length and however well the start model knew it. The loss is bounded
below by 0, and nothing has to be asked of the start model.
"""

import torch
from pydantic import Field
from torch.nn import functional as F

from pipelines.methods.base import ForgetBatch, Method, MethodParams


class SimNPOParams(MethodParams):
    """Parameters of SimNPO."""

    gamma: float = Field(default=0.125, gt=0, le=1000, title="Forget weight", description="Factor of the forget loss.")
    beta: float = Field(
        default=4.5, gt=0, le=10, title="Beta", description="How soon a row's push fades out; near 0 it is ascent."
    )
    delta: float = Field(
        default=0.0, ge=0, le=20, title="Delta", description="NLL per token, in nats, at which the push has halved."
    )


def forget_loss(batch: ForgetBatch, params: SimNPOParams) -> torch.Tensor:
    """-(2 / beta) log sigmoid(beta (NLL - delta)) of each row: loss_B (arXiv 2410.07163, the SimNPO loss).

    The paper writes beta NLL - gamma inside the sigmoid: its reward margin gamma is beta delta here.
    """
    return -(2 / params.beta) * F.logsigmoid(params.beta * (batch.stats.nll_mean_B - params.delta))


METHOD = Method(
    name="simnpo",
    title="Simple negative preference optimisation",
    version="1",
    source="Fan et al. 2024, arXiv 2410.07163, SimNPO",
    params=SimNPOParams,
    needs=frozenset({"retain"}),
    forget_loss=forget_loss,
)

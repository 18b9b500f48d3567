"""Primal-dual unlearning: the forget answers' logits are flattened subject to a bound on the retain rows' loss.

The retain weight is a dual variable: it grows while the retain rows are worse than the bound and falls while they are
better. It is part of every checkpoint.
"""

import torch
from pydantic import Field

from pipelines.methods.base import (
    EpochMeans,
    ForgetBatch,
    Method,
    MethodParams,
    Steering,
    brought,
    token_mean,
)
from pipelines.training.parts import Coefficients


class PDUParams(MethodParams):
    """Parameters of primal-dual unlearning."""

    alpha: float = Field(
        default=100.0,
        ge=0,
        le=10_000,
        title="Retain weight",
        description="First value of the dual variable; 0 drops it.",
    )
    epsilon: float = Field(default=0.3, ge=0, le=100, title="Bound", description="Largest retain loss wanted, in nats.")
    eta: float = Field(
        default=5.0, ge=0, le=1000, title="Dual step", description="Step of the dual variable per epoch."
    )
    warmup: int = Field(default=5, ge=0, le=1000, title="Warm-up", description="Epochs before the dual variable moves.")


def forget_loss(batch: ForgetBatch, params: PDUParams) -> torch.Tensor:
    """(Largest logit - mean logit)^2, mean over answer tokens: loss_B (arXiv 2506.05314, logit-margin flattening)."""
    logits_BAV = brought(batch.rows.logits_BAV, name="logits")
    margin_BA = logits_BAV.amax(-1) - logits_BAV.mean(-1)
    return token_mean(margin_BA.square(), batch.stats.mask_BA)


def first(params: PDUParams) -> tuple[float, ...]:
    """The dual variable before training."""
    return (params.alpha,)


def after_epoch(carried: tuple[float, ...], means: EpochMeans, params: PDUParams) -> tuple[float, ...]:
    """Dual ascent: lambda <- max(0, lambda + eta (L_retain - epsilon)) (arXiv 2506.05314, the dual update)."""
    if means.epochs <= params.warmup:
        return carried
    return (max(0.0, carried[0] + params.eta * (means.retain_loss - params.epsilon)),)


def coefficients(carried: tuple[float, ...], params: PDUParams) -> Coefficients:
    """The retain term's weight is the dual variable: the loop multiplies by alpha, so this divides by it."""
    return Coefficients(retain=carried[0] / params.alpha if params.alpha else 1.0)


METHOD = Method(
    name="pdu",
    title="Primal-dual unlearning",
    version="1",
    source="Entesari et al. 2025, arXiv 2506.05314, logit-margin flattening",
    params=PDUParams,
    needs=frozenset({"logits", "retain"}),
    forget_loss=forget_loss,
    steering=Steering(start=first, after_epoch=after_epoch, coefficients=coefficients),
)

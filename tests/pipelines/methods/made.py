"""Readings made from a seed, with everything in them that a method may ask for; and what stands where nothing counts.

Shapes: B rows, A answer positions, D hidden width, V vocabulary.
"""

from dataclasses import replace
from typing import Any

import torch

from pipelines.methods.base import ForgetBatch, Method, Readings
from pipelines.scoring.likelihood import AnswerStats

VOCABULARY, WIDTH = 6, 3
MASK_BA = torch.tensor([[True, True, True], [True, False, False]])


def made_readings(*, seed: int, mask_BA: torch.Tensor = MASK_BA) -> Readings:
    """Random logits, states and labels with whatever follows from them; logits and states take gradients."""
    draw = torch.Generator().manual_seed(seed)
    shape = tuple(mask_BA.shape)
    logits_BAV = (2 * torch.randn(*shape, VOCABULARY, generator=draw)).requires_grad_()
    labels_BA = torch.randint(VOCABULARY, shape, generator=draw).masked_fill(~mask_BA, 0)
    return readings_of(
        logits_BAV,
        labels_BA,
        mask_BA,
        hidden_BAD=torch.randn(*shape, WIDTH, generator=draw).requires_grad_(),
        reference_BAV=2 * torch.randn(*shape, VOCABULARY, generator=draw),
        reference_hidden_BAD=torch.randn(*shape, WIDTH, generator=draw),
    )


def readings_of(
    logits_BAV: torch.Tensor,
    labels_BA: torch.Tensor,
    mask_BA: torch.Tensor,
    *,
    hidden_BAD: torch.Tensor,
    reference_BAV: torch.Tensor,
    reference_hidden_BAD: torch.Tensor,
) -> Readings:
    """Readings whose likelihoods follow from their logits."""
    return Readings(
        stats=_stats(logits_BAV, labels_BA, mask_BA),
        labels_BA=labels_BA,
        logits_BAV=logits_BAV,
        hidden_BAD=hidden_BAD,
        reference_nll_B=_stats(reference_BAV, labels_BA, mask_BA).nll_sum_B,
        reference_logits_BAV=reference_BAV,
        reference_hidden_BAD=reference_hidden_BAD,
    )


def _stats(logits_BAV: torch.Tensor, labels_BA: torch.Tensor, mask_BA: torch.Tensor) -> AnswerStats:
    nll_BA = -logits_BAV.log_softmax(-1).gather(-1, labels_BA.unsqueeze(-1)).squeeze(-1)
    return AnswerStats(token_nll_BA=nll_BA.masked_fill(~mask_BA, 0.0), mask_BA=mask_BA)


def made_batch(method: Method[Any], *, seed: int = 0, mask_BA: torch.Tensor = MASK_BA) -> ForgetBatch:
    """A batch with the companions that a method names."""
    companions = {c.name: made_readings(seed=seed + 1 + i, mask_BA=mask_BA) for i, c in enumerate(method.companions)}
    return ForgetBatch(rows=made_readings(seed=seed, mask_BA=mask_BA), companions=companions)


def leaves(batch: ForgetBatch) -> list[torch.Tensor]:
    """The tensors of a made batch that take gradients."""
    every = (batch.rows, *batch.companions.values())
    return [t for r in every for t in (r.logits_BAV, r.hidden_BAD) if t is not None]


def disturbed(readings: Readings, *, by: float) -> Readings:
    """The same readings with something else wherever nothing counts."""
    noise_BA1 = by * (~readings.stats.mask_BA).float().unsqueeze(-1)

    def moved(tensor: torch.Tensor | None) -> torch.Tensor:
        if tensor is None:
            raise TypeError("made readings have every tensor")
        return (tensor.detach() + noise_BA1 * torch.linspace(1, 2, tensor.shape[-1])).requires_grad_(
            tensor.requires_grad
        )

    labels_BA = torch.where(readings.stats.mask_BA, readings.labels_BA, 1) if readings.labels_BA is not None else None
    if labels_BA is None:
        raise TypeError("made readings have labels")
    made = readings_of(
        moved(readings.logits_BAV),
        labels_BA,
        readings.stats.mask_BA,
        hidden_BAD=moved(readings.hidden_BAD),
        reference_BAV=moved(readings.reference_logits_BAV),
        reference_hidden_BAD=moved(readings.reference_hidden_BAD),
    )
    return replace(made, reference_nll_B=readings.reference_nll_B)


def row_of(readings: Readings, b: int) -> Readings:
    """One row alone."""
    tensors = {
        name: value[b : b + 1]
        for name in ("labels_BA", "logits_BAV", "hidden_BAD", "reference_nll_B", "reference_logits_BAV")
        if (value := getattr(readings, name)) is not None
    }
    return replace(readings, stats=readings.stats.rows(b, b + 1), **tensors)

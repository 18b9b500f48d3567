"""The loss of one batch: gamma x the method's loss over the active forget rows + alpha x the retain rows' NLL.

A row is active while it is likelier than its level; the score that decides is read from the same forward pass. Both
terms are means over rows, so that a row counts the same whatever its length and whatever batch it falls into.

Shapes: B forget rows in a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pipelines.likelihood import AnswerStats
from pipelines.methods.base import AnyMethod, MethodParams
from pipelines.stopping import below_level, min_k_scores


@dataclass(frozen=True, slots=True)
class ForgetTargets:
    """What is known of the forget rows of a batch before the pass.

    Attributes:
        reference_nll_B: S under the start model.
        levels_B: score at which a row counts as forgotten; infinite where rows never do.
    """

    reference_nll_B: torch.Tensor
    levels_B: torch.Tensor

    def rows(self, index: Sequence[int], device: torch.device) -> "ForgetTargets":
        """The same for some rows, on a device."""
        return ForgetTargets(
            reference_nll_B=self.reference_nll_B[list(index)].to(device), levels_B=self.levels_B[list(index)].to(device)
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """The loss, differentiable, and what it is made of, detached: scalars in nats, and the number of active rows."""

    loss: torch.Tensor
    forget_nll: torch.Tensor
    retain_nll: torch.Tensor
    n_active: torch.Tensor


def objective(stats: AnswerStats, targets: ForgetTargets, *, method: AnyMethod, params: MethodParams) -> Terms:
    """The loss of one batch.

    Args:
        stats: of the forget rows, then of the retain rows, from one forward pass.
        targets: of the forget rows.
        method: whose loss.
        params: of the method's own model.
    """
    n_forget = len(targets.levels_B)
    forget, retain = stats.rows(0, n_forget), stats.rows(n_forget, len(stats.mask_BA))
    needed = "reference_nll" in method.needs
    loss_B = method.forget_loss(forget, targets.reference_nll_B if needed else None, params)
    active_B = below_level(min_k_scores(forget).detach(), targets.levels_B)
    n_active = active_B.sum()
    loss = params.gamma * loss_B.masked_fill(~active_B, 0.0).sum() / n_active.clamp(min=1)
    retain_nll = retain.nll_mean_B.mean() if len(retain.mask_BA) else torch.zeros_like(loss)
    return Terms(
        loss=loss + params.alpha * retain_nll,
        forget_nll=forget.nll_mean_B.mean().detach(),
        retain_nll=retain_nll.detach(),
        n_active=n_active,
    )

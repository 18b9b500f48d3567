"""The loss of one batch: gamma x the method's loss over the active forget rows + alpha x the retain term.

What a method keeps itself, by companions of its rows, is part of the retain term. A row is active while it is likelier
than its level or more of it can be extracted than may be; both are read from the same forward pass. Both terms are
means over rows, so that a row counts the same whatever its length and whatever batch it falls into. Any method goes
with any retain term.

Shapes: B rows in a batch, A answer positions, D hidden width, V vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from pipelines.methods.base import ForgetBatch, Method, MethodParams, Readings, brought, token_mean
from pipelines.training.parts import Coefficients
from pipelines.training.readings import start_kl
from pipelines.training.stopping import extraction_strengths, known_still, min_k_scores


@dataclass(frozen=True, slots=True)
class Terms:
    """The loss, differentiable, and what it is made of, detached: scalars, and the number of active rows.

    Attributes:
        loss: of the batch.
        forget_nll: mean NLL of the forget rows.
        retain_nll: mean NLL of the retain rows; 0 without any.
        retain_loss: the retain term without its weight, what the method itself keeps included.
        n_active: forget rows that are still pushed.
    """

    loss: torch.Tensor
    forget_nll: torch.Tensor
    retain_nll: torch.Tensor
    retain_loss: torch.Tensor
    n_active: torch.Tensor


def objective(
    batch: ForgetBatch,
    retain: Readings | None,
    levels_B: torch.Tensor,
    *,
    method: Method[MethodParams],
    params: MethodParams,
    coefficients: Coefficients = Coefficients(),  # noqa: B008 -- frozen
    most_extracted: float = 1.0,
) -> Terms:
    """The loss of one batch.

    Args:
        batch: what was read of the forget rows and their companions.
        retain: what was read of the retain rows, or None.
        levels_B: score at which a forget row counts as forgotten; infinite where rows never do.
        method: whose loss.
        params: of the method's own model.
        coefficients: of this step, on top of the method's weights.
        most_extracted: extraction strength above which a row is active whatever its level.
    """
    loss_B = method.forget_loss(batch, params)
    extracted_B = _extracted(batch.rows) if most_extracted < 1 else None
    active_B = known_still(min_k_scores(batch.stats).detach(), levels_B, extracted_B, most_extracted=most_extracted)
    n_active = active_B.sum()
    forget = loss_B.masked_fill(~active_B, 0.0).sum() / n_active.clamp(min=1)
    kept = forget.new_zeros(()) if retain is None else RETAIN_TERMS[params.retain_term](retain).mean()
    if method.keep_loss is not None:
        kept = kept + method.keep_loss(batch, params).mean()
    return Terms(
        loss=coefficients.forget * params.gamma * forget + coefficients.retain * params.alpha * kept,
        forget_nll=batch.stats.nll_mean_B.mean().detach(),
        retain_nll=forget.new_zeros(()) if retain is None else retain.stats.nll_mean_B.mean().detach(),
        retain_loss=kept.detach(),
        n_active=n_active,
    )


def _extracted(rows: Readings) -> torch.Tensor:
    logits_BAV, labels_BA = brought(rows.logits_BAV, name="logits"), brought(rows.labels_BA, name="labels")
    return extraction_strengths(logits_BAV.detach(), labels_BA, rows.stats.mask_BA)


def nll(retain: Readings) -> torch.Tensor:
    """Mean NLL of each row: loss_B."""
    return retain.stats.nll_mean_B


def kl(retain: Readings) -> torch.Tensor:
    """KL(start model || model), mean over the answer tokens of each row: loss_B (TOFU, arXiv 2401.06121)."""
    return start_kl(retain)


def kl_nll(retain: Readings) -> torch.Tensor:
    """Stay with the start model and go on learning the task, one part each: loss_B (arXiv 2310.20150)."""
    return kl(retain) + nll(retain)


def hidden(retain: Readings) -> torch.Tensor:
    """Squared distance from the start model's hidden states, mean over widths and answer positions: loss_B.

    arXiv 2403.03218, the retain loss of RMU, with the mean over widths that its weights were tuned for.
    """
    now_BAD = brought(retain.hidden_BAD, name="hidden_states").float()
    reference_BAD = brought(retain.reference_hidden_BAD, name="reference_hidden_states").float()
    return token_mean((now_BAD - reference_BAD).square().mean(-1), retain.stats.mask_BA)


RETAIN_TERMS: Mapping[str, Callable[[Readings], torch.Tensor]] = MappingProxyType(
    {"nll": nll, "kl": kl, "kl_nll": kl_nll, "hidden": hidden}
)

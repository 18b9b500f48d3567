"""The straightforward unlearning loop, written out plainly, as what the loop of pipelines is measured against.

Everything that public loops do and ours does not: the start model is held as a second copy and asked again in every
step, every batch is padded to the longest row of its set, forget and retain rows go through the model one after the
other, and logits are made for every position. The mathematics is the same: NPO over the forget rows plus the NLL of the
retain rows, or their KL from the start model; same batches, same optimiser. It knows nothing of stop rules or
checkpoints and is no part of the product.

Shapes: B rows in a batch, T tokens (always the longest of the set), V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from pipelines.data.encode import IGNORED, Encoded
from pipelines.training.pairing import PairedBatch


@dataclass(frozen=True, slots=True)
class Padded:
    """A whole set, every row padded to its longest; labels are :data:`IGNORED` where nothing counts."""

    ids_NT: torch.Tensor
    mask_NT: torch.Tensor
    labels_NT: torch.Tensor

    def rows(self, index: Sequence[int]) -> "Padded":
        """Some of its rows, as wide as the whole set."""
        chosen = list(index)
        return Padded(self.ids_NT[chosen], self.mask_NT[chosen], self.labels_NT[chosen])


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is computed: NPO's beta, the retain term and its weight, AdamW's rate, the norm gradients are clipped to."""

    beta: float
    alpha: float
    retain_term: Literal["nll", "kl"]
    learning_rate: float
    max_grad_norm: float


def padded(items: Sequence[Encoded], *, pad_id: int, ended: bool) -> Padded:
    """A set as tensors; the end-of-sequence token counts where ``ended``."""
    width = max(len(item) for item in items)
    ids = torch.full((len(items), width), pad_id)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for i, item in enumerate(items):
        ids[i, : len(item)] = torch.tensor(item.input_ids)
        mask[i, : len(item)] = 1
        stop = len(item) if ended else item.answer_end
        labels[i, item.answer_start : stop] = ids[i, item.answer_start : stop]
    return Padded(ids, mask, labels)


def log_probs(model: nn.Module, rows: Padded) -> torch.Tensor:
    """Log-probabilities of the whole vocabulary at every position but the last: logp_BTV."""
    logits_BTV: torch.Tensor = model(input_ids=rows.ids_NT, attention_mask=rows.mask_NT, use_cache=False).logits
    return logits_BTV[:, :-1].log_softmax(-1)


def token_nll(logp_BTV: torch.Tensor, rows: Padded) -> torch.Tensor:
    """-log p of every counted token, 0 elsewhere: nll_BT."""
    labels_BT = rows.labels_NT[:, 1:]
    nll_BT = -logp_BTV.gather(-1, labels_BT.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return nll_BT.masked_fill(labels_BT == IGNORED, 0.0)


def npo(model: nn.Module, reference: nn.Module, rows: Padded, *, beta: float) -> torch.Tensor:
    """-(2 / beta) log sigmoid(beta (S - S_ref)), mean over rows (arXiv 2404.05868, eq. 3)."""
    with torch.no_grad():
        reference_nll_B = token_nll(log_probs(reference, rows), rows).sum(1)
    nll_B = token_nll(log_probs(model, rows), rows).sum(1)
    return (-(2 / beta) * F.logsigmoid(beta * (nll_B - reference_nll_B))).mean()


def retain_nll(model: nn.Module, reference: nn.Module, rows: Padded) -> torch.Tensor:
    """NLL per counted token of each row, mean over rows."""
    n_B = (rows.labels_NT[:, 1:] != IGNORED).sum(1)
    return (token_nll(log_probs(model, rows), rows).sum(1) / n_B).mean()


def retain_kl(model: nn.Module, reference: nn.Module, rows: Padded) -> torch.Tensor:
    """KL(start model || model) per counted token of each row, mean over rows."""
    with torch.no_grad():
        reference_BTV = log_probs(reference, rows)
    counted_BT = rows.labels_NT[:, 1:] != IGNORED
    kl_BT = F.kl_div(log_probs(model, rows), reference_BTV, log_target=True, reduction="none").sum(-1)
    return (kl_BT.masked_fill(~counted_BT, 0.0).sum(1) / counted_BT.sum(1)).mean()


def train(
    model: nn.Module,
    reference: nn.Module,
    *,
    forget: Padded,
    retain: Padded,
    batches: Sequence[PairedBatch],
    recipe: Recipe,
    stepped: Callable[[], None],
) -> list[float]:
    """Train in place; returns the loss of every step.

    Args:
        model: the start model, its trainable parameters with gradients.
        reference: a second copy of it.
        forget: the forget set.
        retain: the retain set.
        batches: one per step.
        recipe: what is computed.
        stepped: told of every step's end.
    """
    term = {"nll": retain_nll, "kl": retain_kl}[recipe.retain_term]
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0, fused=True)
    model.train()
    losses = []
    for batch in batches:
        loss = npo(model, reference, forget.rows(batch.forget), beta=recipe.beta)
        loss = loss + recipe.alpha * term(model, reference, retain.rows(batch.retain))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, recipe.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        stepped()
    return losses

"""What losses read: what one forward pass says of some rows, and what the start model said of the same tokens.

Tensors only: no text, no model, no file.

Shapes: B rows in a batch, A answer positions, D hidden width, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from pipelines.scoring.likelihood import AnswerStats
from pipelines.training.token_kl import token_kl


@dataclass(frozen=True, slots=True)
class Readings:
    """What the model says of some rows of a batch, and what the start model said of the same tokens.

    What the start model said and hidden states are None unless they were asked for. Positions are those of ``stats``:
    entry a belongs to the position that predicts answer token a, and counts where ``stats.mask_BA`` is True.

    Attributes:
        stats: negative log-likelihoods.
        labels_BA: the answer tokens; 0 elsewhere.
        logits_BAV: float32.
        hidden_BAD: output of the layer asked for.
        reference_nll_B: S under the start model.
        reference_logits_BAV: the start model's, float32.
        reference_hidden_BAD: the start model's.
    """

    stats: AnswerStats
    labels_BA: torch.Tensor | None = None
    logits_BAV: torch.Tensor | None = None
    hidden_BAD: torch.Tensor | None = None
    reference_nll_B: torch.Tensor | None = None
    reference_logits_BAV: torch.Tensor | None = None
    reference_hidden_BAD: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class ForgetBatch:
    """What a method's loss reads: its forget rows, and the companions of each row, in the same order.

    Attributes:
        rows: of the forget rows.
        companions: by the companions' name; row b belongs to forget row b.
    """

    rows: Readings
    companions: Mapping[str, Readings]

    @property
    def stats(self) -> AnswerStats:
        """Negative log-likelihoods of the forget rows."""
        return self.rows.stats


def token_mean(value_BA: torch.Tensor, mask_BA: torch.Tensor) -> torch.Tensor:
    """Mean over the marked positions of each row, whatever stands at the others: mean_B; 0 where none is marked."""
    return value_BA.masked_fill(~mask_BA, 0.0).sum(dim=1) / mask_BA.sum(dim=1).clamp(min=1)


def start_kl(read: Readings) -> torch.Tensor:
    """KL(start model || model), mean over the answer tokens of each row: kl_B (TOFU, arXiv 2401.06121)."""
    reference_BAV = brought(read.reference_logits_BAV, name="reference_logits")
    kl_BA = token_kl(brought(read.logits_BAV, name="logits"), reference_BAV)
    return token_mean(kl_BA, read.stats.mask_BA)


def brought(tensor: torch.Tensor | None, *, name: str) -> torch.Tensor:
    """A tensor that the loop brings because the method's ``needs`` say so.

    Raises:
        ValueError: it is not there; that is a fault of the program.
    """
    if tensor is None:
        raise ValueError(f"{name}: not brought from the start model or the pass, though the method needs it")
    return tensor

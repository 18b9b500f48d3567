"""The start model's hidden states at answer positions, kept on disk, and its logits made from them again.

What is stored has the model's width, not the vocabulary's: the output head turns it into exactly the logits that the
start model gave, so no second model is held during training, and nothing of the vocabulary's size is written. The file
is read a batch at a time. It has seen the forget set: vault only.

Shapes: B rows in a batch, A answer positions, P answer positions of all rows one after the other, D hidden width,
V vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F

from pipelines.data.encode import Encoded, length_batches
from pipelines.errors import BadInput
from pipelines.models.loading import LoadedModel
from pipelines.scoring.likelihood import AnswerPass, answer_batch, answer_pass, mixed_precision, on_device

FINAL = -1
"""As a layer: what goes into the output head."""


def n_positions(item: Encoded) -> int:
    """Learnt tokens of a row that something stands before, its end-of-sequence token among them."""
    return len(item) - max(item.answer_start, 1)


def states_of(
    loaded: LoadedModel, items: Sequence[Encoded], *, layer: int, batch_size: int, device: torch.device
) -> torch.Tensor:
    """Hidden states at the answer positions of every row, row after row: states_PD on the CPU.

    Args:
        loaded: the model, on ``device``.
        items: at least one row.
        layer: whose output, from 1, or :data:`FINAL`.
        batch_size: rows per forward pass.
        device: where the model is.

    Raises:
        BadInput: the logits cannot be had from :data:`FINAL` and the output head alone.
    """
    parts: dict[int, torch.Tensor] = {}
    with torch.no_grad(), mixed_precision(device):
        for index in length_batches(items, batch_size=batch_size):
            batch = answer_batch([items[i] for i in index], pad_id=loaded.pad_id, n_unended=0)
            seen = answer_pass(loaded.model, on_device(batch, device), layer=layer)
            if layer == FINAL and not parts:
                _check_head(loaded, seen)
            for b, i in enumerate(index):
                if seen.hidden_BAD is not None:
                    parts[i] = seen.hidden_BAD[b][seen.stats.mask_BA[b]].cpu()
    return torch.cat([parts[i] for i in range(len(items))])


def _check_head(loaded: LoadedModel, seen: AnswerPass) -> None:
    head = OutputHead.of(loaded.model)
    if seen.hidden_BAD is None or not torch.allclose(head(seen.hidden_BAD), seen.logits_BAV, atol=1e-2, rtol=1e-2):
        raise BadInput(
            f"{loaded.ref.path}: this architecture changes its logits after the output layer; "
            "methods and retain terms that compare logits with the start model's cannot be used with it"
        )


@dataclass(frozen=True, slots=True)
class OutputHead:
    """The start model's output layer, frozen: a copy where training would change it, else the layer's own tensors."""

    weight_VD: torch.Tensor
    bias_V: torch.Tensor | None

    @classmethod
    def of(cls, model: nn.Module) -> "OutputHead":
        """The head of a model that is at its start weights.

        Raises:
            BadInput: the model has no output layer that can be told apart.
        """
        layer: Any = model.get_output_embeddings()  # type: ignore[operator]
        layer = getattr(layer, "base_layer", layer)  # below an adapter
        if layer is None:
            raise BadInput(f"{type(model).__name__}: no output layer; methods that compare logits need one")
        bias = getattr(layer, "bias", None)
        return cls(weight_VD=_frozen(layer.weight), bias_V=None if bias is None else _frozen(bias))

    def __call__(self, states_BAD: torch.Tensor) -> torch.Tensor:
        """Logits, float32: logits_BAV."""
        return F.linear(states_BAD.to(self.weight_VD.dtype), self.weight_VD, self.bias_V).float()


def _frozen(parameter: torch.Tensor) -> torch.Tensor:
    return parameter.detach().clone() if parameter.requires_grad else parameter.detach()


class StartStates:
    """States of some rows as :func:`states_of` gave them, read from a file without loading it."""

    def __init__(self, file: Path, key: str, items: Mapping[int, Encoded]) -> None:
        """Open the file.

        Args:
            file: safetensors.
            key: of the states in it.
            items: the rows by position, in the order in which their states were written.
        """
        opened: Any = safe_open(file, framework="pt")
        self._states_PD = opened.get_slice(key)
        self._spans: dict[int, tuple[int, int, int]] = {}
        start = 0
        for i, item in items.items():
            self._spans[i] = (start, start + n_positions(item), max(item.answer_start, 1))
            start += n_positions(item)

    def batch(self, index: Sequence[int], *, first: int, n: int) -> torch.Tensor:
        """States of some rows where their batch has them, 0 elsewhere: states_BAD.

        Args:
            index: positions of the rows.
            first: token that the batch's first answer position predicts, from 0.
            n: number of answer positions A.
        """
        rows: list[tuple[torch.Tensor, int]] = [
            (self._states_PD[start:stop], answer - first) for start, stop, answer in (self._spans[i] for i in index)
        ]
        out_BAD = rows[0][0].new_zeros(len(index), n, rows[0][0].shape[1])
        for b, (states_PD, column) in enumerate(rows):
            out_BAD[b, column : column + len(states_PD)] = states_PD
        return out_BAD

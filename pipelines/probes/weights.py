"""What a 4-bit or pruned artifact does to weights, worked out in the model's own numbers, on any device.

Rounding is exact about the values that a quantised model computes with (codes and scales as named below) and says
nothing about its speed or its memory: no packed kernel runs here. As the usual weight-only schemes do, it leaves the
embedding, the output layer and the norms alone. A model whose weights lie mostly where nothing is found to change is
refused: left as it was, it would look as if the change had brought nothing back. Changes a model in place: call it on
a copy.
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from pipelines.errors import BadInput

GROUP = 32
"""Weights that share one scale in the 4-bit integer scheme; a shorter last group where the width is no multiple."""

NF4_BLOCK = 64

LEAST_SHARE = 0.5
"""Of the inner weights, the part that must have been changed for the attack to say anything."""

NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
"""The sixteen values of NF4 (QLoRA, arXiv 2305.14314, appendix E)."""

Change = Callable[[torch.Tensor], torch.Tensor]
"""A weight matrix to another of its shape and type."""


def matrices(model: PreTrainedModel) -> list[torch.Tensor]:
    """What weight-only quantisation and pruning change, as it lies in the model: each with its inputs last.

    The weight of every linear layer but the output layer, GPT-2's kind included, and the experts that a mixture keeps
    as one stack, in the order in which that stack lies.
    """
    head = model.get_output_embeddings()
    found: list[torch.Tensor] = []
    for module in model.modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            found.append(module.weight.mT if isinstance(module, Conv1D) else module.weight)
        elif not isinstance(module, nn.Conv1d | nn.Embedding):
            found += [stack for stack in module.parameters(recurse=False) if stack.dim() == 3]
    return found


@torch.no_grad()
def change_weights(model: PreTrainedModel, change: Change) -> None:
    """Put another value in the place of every matrix.

    Raises:
        BadInput: the matrices are less than half of the weights between the embedding and the output layer.
    """
    changed = matrices(model)
    apart = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Embedding)}
    apart.add(id(model.get_output_embeddings().weight))
    inner = sum(w.numel() for w in model.parameters() if w.dim() > 1 and id(w) not in apart)
    share = sum(w.numel() for w in changed) / max(1, inner)
    if share < LEAST_SHARE:
        raise BadInput(
            f"rounding and pruning: a {type(model).__name__} keeps {1 - share:.0%} of its inner weights in no linear "
            f"layer that is known; at most {1 - LEAST_SHARE:.0%} may stay as they are"
        )
    for weight in changed:
        weight.copy_(change(weight))


def int8(weight: torch.Tensor) -> torch.Tensor:
    """Symmetric 8-bit integers, one scale per output row."""
    return _integers(weight.float(), bits=8).to(weight.dtype)


def int4(weight: torch.Tensor) -> torch.Tensor:
    """Symmetric 4-bit integers, one scale per :data:`GROUP` weights of an output row."""
    return _by_group(weight, GROUP, lambda group: _integers(group, bits=4))


def nf4(weight: torch.Tensor) -> torch.Tensor:
    """NF4: the nearest of sixteen quantiles of a normal distribution, scaled by the block's largest magnitude."""
    levels = torch.tensor(NF4, device=weight.device)

    def nearest(block: torch.Tensor) -> torch.Tensor:
        scale = block.abs().amax(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        middles = (levels[1:] + levels[:-1]) / 2
        return levels[torch.bucketize((block / scale).contiguous(), middles)] * scale

    return _by_group(weight, NF4_BLOCK, nearest)


def pruned(share: float) -> Change:
    """Without the given share of each matrix, the weights of smallest magnitude."""

    def change(weight: torch.Tensor) -> torch.Tensor:
        n = int(share * weight.numel())
        if n == 0:
            return weight
        smallest = weight.abs().flatten().argsort(stable=True)[:n]
        kept = weight.flatten().clone()
        kept[smallest] = 0
        return kept.view_as(weight)

    return change


def _integers(values: torch.Tensor, *, bits: int) -> torch.Tensor:
    """Nearest code times scale along the last dimension.

    The codes -2^(b-1) to 2^(b-1) - 1 span 2^b - 1 steps, and scale = max |w| / ((2^b - 1) / 2): the symmetric scheme
    of torchao 0.18 (``IntxWeightOnlyConfig``, ``Int8WeightOnlyConfig``), but for ties.
    """
    half, steps = 2 ** (bits - 1), (2**bits - 1) / 2
    widest = values.abs().amax(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    # In this order the widest weight is exactly a tie, and goes to the same code on every machine.
    code = (values / widest * steps).round().clamp(-half, half - 1)
    rounded: torch.Tensor = code * (widest / steps)
    return rounded


def _by_group(weight: torch.Tensor, size: int, change: Change) -> torch.Tensor:
    groups = weight.float().split(size, dim=-1)
    return torch.cat([change(group) for group in groups], dim=-1).to(weight.dtype)

"""Which weights a run may update: found once from the start model's gradients, kept as bits, recorded by their digest.

A mask says nothing about the loss; it goes with any. Weights outside it keep their start values to the last bit. It is
computed by the start model's stage (memory: the model, its gradient, and for the retain rows one more) and found again
after a kill. Whether few weights are enough to forget is measured elsewhere.

Shapes: R rows of a matrix (outputs), C its columns (inputs), N values in a row.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from pipelines.data.encode import Encoded, length_batches
from pipelines.errors import BadInput
from pipelines.records import Record
from pipelines.scoring.likelihood import answer_batch, answer_stats, on_device
from pipelines.training.parts import Hooks, Start

Tensors = dict[str, torch.Tensor]

MASK = "mask"
"""Name of the part."""


class MaskFacts(Record):
    """What is recorded of a mask.

    Attributes:
        digest: SHA-256 of its bits by the weights' names.
        share: of the model's weights that may be updated, from 0 to 1.
    """

    digest: str
    share: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What a rule reads of the start model, by the weights' names.

    Attributes:
        weights: its weights.
        forget: gradient of the mean NLL of the forget rows.
        retain: of the retain rows, a sample; made when a rule asks.
    """

    weights: Tensors
    forget: Tensors
    retain: Callable[[], Tensors]


def salun(seen: Seen, share: float) -> Tensors:
    """The weights of largest |gradient| over the whole model (SalUn, arXiv 2310.12508; share 0.5: median)."""
    sizes = {name: grad.abs() for name, grad in seen.forget.items()}
    least = threshold(torch.cat([size.flatten() for size in sizes.values()]), share=share)
    return {name: (size >= least) & (size > 0) for name, size in sizes.items()}


def sure(seen: Seen, share: float) -> Tensors:
    """The neurons of largest gradient norm over the whole model (SURE, arXiv 2410.16454; share 0.1: 90th percentile).

    A neuron is a row of a matrix; a vector (a norm's weights, biases) is one neuron.
    """
    norms = {name: _lines(grad).norm(dim=1) for name, grad in seen.forget.items()}
    least = threshold(torch.cat(list(norms.values())), share=share)
    return {
        name: ((norm_R >= least) & (norm_R > 0))
        .unsqueeze(1)
        .expand_as(_lines(seen.forget[name]))
        .reshape(seen.forget[name].shape)
        for name, norm_R in norms.items()
    }


def channels(seen: Seen, share: float) -> Tensors:
    """Rows and columns of each matrix that matter most for the forget rows (after arXiv 2406.12516).

    What a channel matters is |sum of w dL/dw| over it, the first-order change of the loss without it.
    """
    found = {}
    for name, grad in seen.forget.items():
        effect = seen.weights[name] * grad
        found[name] = _none(grad)
        if grad.dim() == 2:
            rows_R, columns_C = (_top(effect.sum(dim).abs(), share) for dim in (1, 0))
            found[name] = rows_R.unsqueeze(1) | columns_C.unsqueeze(0)
    return found


def essential(seen: Seen, share: float) -> Tensors:
    """Rows of each matrix that matter most for the forget rows and not for the retain rows (after arXiv 2406.10954)."""
    kept, found = seen.retain(), {}
    for name, grad in seen.forget.items():
        found[name] = _none(grad)
        if grad.dim() == 2:
            forget_R, retain_R = (_top((seen.weights[name] * g).sum(1).abs(), share) for g in (grad, kept[name]))
            found[name] = (forget_R & ~retain_R).unsqueeze(1).expand_as(grad)
    return found


@dataclass(frozen=True, slots=True)
class Rule:
    """How a mask is found, and the share of weights, neurons or channels it takes unless another is asked for."""

    find: Callable[[Seen, float], Tensors]
    share: float


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "salun": Rule(salun, 0.5),
        "sure": Rule(sure, 0.1),
        "channels": Rule(channels, 0.1),
        "essential": Rule(essential, 0.25),
    }
)


def threshold(values_N: torch.Tensor, *, share: float) -> float:
    """The value that a share of all values, at least one, reaches."""
    n = len(values_N)
    return float(values_N.kthvalue(n - max(1, math.ceil(share * n)) + 1).values)


def _top(values_N: torch.Tensor, share: float) -> torch.Tensor:
    return (values_N >= threshold(values_N, share=share)) & (values_N > 0)


def _lines(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(1, -1) if values.dim() < 2 else values.flatten(1)


def _none(like: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(like, dtype=torch.bool)


def gradients(start: Start, items: Sequence[Encoded]) -> Tensors:
    """Gradient of the mean over rows of their NLL, by the weights' names; the model is left as it was."""
    wanted = {name: weight.requires_grad for name, weight in start.model.named_parameters()}
    start.model.requires_grad_(True)
    try:
        for index in length_batches(items, batch_size=start.batch_size):
            batch = answer_batch([items[i] for i in index], pad_id=start.pad_id, n_unended=len(index))
            stats = answer_stats(start.model, on_device(batch, start.device))
            (stats.nll_mean_B.sum() / len(items)).backward()
        named = dict(start.model.named_parameters())
        return {name: torch.zeros_like(w) if w.grad is None else w.grad for name, w in named.items()}
    finally:
        start.model.zero_grad(set_to_none=True)
        for name, weight in start.model.named_parameters():
            weight.requires_grad_(wanted[name])


@dataclass(frozen=True, slots=True)
class Mask:
    """Only weights that a rule finds are updated.

    Attributes:
        rule: of :data:`RULES`.
        share: None for the rule's own.
    """

    rule: str
    share: float | None = None
    name: str = MASK

    def prepare(self, start: Start) -> dict[str, torch.Tensor]:
        """The mask's bits, packed, by the weights' names.

        Raises:
            BadInput: no weight would be updated, or the rule needs retain rows and there are none.
        """
        rule = RULES[self.rule]
        weights = {name: weight.detach() for name, weight in start.model.named_parameters()}
        seen = Seen(weights, gradients(start, start.forget), lambda: gradients(start, _some(start.retain)))
        found = rule.find(seen, rule.share if self.share is None else self.share)
        if not any(bool(mask.any()) for mask in found.values()):
            raise BadInput(f"mask '{self.rule}': no weight would be updated; raise training.mask_share, or take 'all'")
        return {name: packed_bits(mask) for name, mask in found.items()}

    def hooks(self, model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        """Gradients outside the mask vanish before the optimiser sees them, the momentum's own included."""
        trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        masks = {name: unpacked_bits(prepared[name], like=weight) for name, weight in trained.items()}

        def drop() -> None:
            for name, weight in trained.items():
                if weight.grad is not None:
                    weight.grad *= masks[name]

        return Hooks(on_gradient=drop)


def _some(items: Sequence[Encoded]) -> Sequence[Encoded]:
    if not items:
        raise BadInput("retain set: no rows; the mask 'essential' compares with them: give some, or take another mask")
    return items


def packed_bits(mask: torch.Tensor) -> torch.Tensor:
    """Eight weights to a byte, in their order, the first in the lowest bit."""
    bits = mask.flatten().to("cpu", torch.uint8)
    padded = nn.functional.pad(bits, (0, -len(bits) % 8)).view(-1, 8)
    packed: torch.Tensor = (padded << torch.arange(8, dtype=torch.uint8)).sum(1).to(torch.uint8)
    return packed


def unpacked_bits(packed: torch.Tensor, *, like: torch.Tensor) -> torch.Tensor:
    """The mask of a weight: bool, of its shape, on its device."""
    bits = (packed.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8)) & 1
    return bits.flatten()[: like.numel()].view(like.shape).to(like.device, torch.bool)


def mask_facts(prepared: Mapping[str, torch.Tensor], model: nn.Module) -> MaskFacts:
    """What is recorded.

    Args:
        prepared: what :meth:`Mask.prepare` gave.
        model: as it will be trained; weights that do not train count as not updated.
    """
    digest = hashlib.sha256()
    for name, bits in sorted(prepared.items()):
        digest.update(f"{name} {len(bits)}\n".encode() + bits.numpy().tobytes())
    weights = dict(model.named_parameters())
    updated = sum(int(unpacked_bits(prepared[n], like=w).sum()) for n, w in weights.items() if w.requires_grad)
    total = sum(weight.numel() for weight in weights.values())
    return MaskFacts(digest=digest.hexdigest(), share=updated / total)

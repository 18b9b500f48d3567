"""The space that retained inputs span in each linear layer, and updates that leave it alone.

W x stays exactly what it was for every x in that space, however far training goes: gradients lose their component in it
before the optimiser sees them, and after each step whatever the optimiser's scaling or weight decay put back is taken
out again. Everything that is no linear layer (norms, biases, embeddings, the output head) does not train. What a later
layer does with changed inputs is not promised; layers below are held the same way.

Shapes: B rows, T tokens, O outputs of a layer, C its inputs, K dimensions of the retained space.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from pipelines.data.encode import Encoded, collate, length_batches
from pipelines.errors import BadInput
from pipelines.training.parts import Hooks, Start


@dataclass(frozen=True, slots=True)
class RetainedSpace:
    """Updates are projected off the space that holds a share of the variance of the retain rows' inputs.

    arXiv 2312.04095: the gram matrix of the retained inputs is that of all inputs less that of the forgotten
    ones. The retain rows are at hand here, so it is summed over them, which is the same matrix.

    Attributes:
        keep: share of the variance that is retained, in (0, 1).
    """

    keep: float
    name: str = "retained_space"

    def prepare(self, start: Start) -> dict[str, torch.Tensor]:
        """Basis of the retained space of each linear layer: basis_CK by the layer's name.

        Raises:
            BadInput: there are no retain rows.
        """
        if not start.retain:
            raise BadInput("retain set: no rows; projected gradients leave their space alone, so some are needed")
        return {name: retained_basis(gram_CC, keep=self.keep) for name, gram_CC in grams(start, start.retain).items()}

    def hooks(self, model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        """Project gradients, then weights."""
        layers = linear_layers(model)
        held = [_Held.of(layers[name], basis_CK) for name, basis_CK in prepared.items()]
        trained = {id(one.weight) for one in held}
        others = [parameter for parameter in model.parameters() if id(parameter) not in trained]

        def project() -> None:
            for parameter in others:
                parameter.grad = None  # the optimiser skips it, its weight decay included
            for one in held:
                one.project_gradient()

        def restore() -> None:
            for one in held:
                one.restore()

        return Hooks(on_gradient=project, after_step=restore)


@dataclass(frozen=True, slots=True)
class _Held:
    """One layer: weight, basis of what is retained, and what the start weights make of that basis."""

    weight: torch.Tensor
    turned: bool
    basis_CK: torch.Tensor
    start_OK: torch.Tensor

    @classmethod
    def of(cls, layer: nn.Module, basis_CK: torch.Tensor) -> "_Held":
        weight: Any = layer.weight
        basis_CK, turned = basis_CK.to(weight), isinstance(layer, Conv1D)
        weight_OC = weight.detach().T if turned else weight.detach()
        return cls(weight=weight, turned=turned, basis_CK=basis_CK, start_OK=weight_OC @ basis_CK)

    def project_gradient(self) -> None:
        if self.weight.grad is not None:
            grad_OC = self.weight.grad.T if self.turned else self.weight.grad
            grad_OC -= (grad_OC @ self.basis_CK) @ self.basis_CK.T

    def restore(self) -> None:
        with torch.no_grad():
            weight_OC = self.weight.T if self.turned else self.weight
            weight_OC -= (weight_OC @ self.basis_CK - self.start_OK) @ self.basis_CK.T


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """All linear layers but the output head, GPT-2's kind included."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D) and m is not head}


def grams(start: Start, items: Sequence[Encoded]) -> dict[str, torch.Tensor]:
    """Sum of x x' over all tokens of some rows, for the inputs x of each linear layer: gram_CC by its name."""
    found: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for index in length_batches(items, batch_size=start.batch_size):
            tokens = collate([items[i] for i in index], pad_id=start.pad_id)
            mask_BT = tokens.attention_mask_BT.to(start.device)
            with _inputs(start.model, _adding(found, mask_BT.bool())):
                start.model(input_ids=tokens.input_ids_BT.to(start.device), attention_mask=mask_BT, use_cache=False)
    return found


def _adding(found: dict[str, torch.Tensor], mask_BT: torch.Tensor) -> Callable[[str, torch.Tensor], None]:
    def add(name: str, inputs: torch.Tensor) -> None:
        # Layers that see tokens in another order than the batch's count padding, too: the space is larger then.
        x_NC = (inputs[mask_BT] if inputs.shape[:-1] == mask_BT.shape else inputs.flatten(0, -2)).float()
        found[name] = found[name] + x_NC.T @ x_NC if name in found else x_NC.T @ x_NC

    return add


@contextmanager
def _inputs(model: nn.Module, tell: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    def telling(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        return lambda module, args: tell(name, args[0].detach())

    handles = [layer.register_forward_pre_hook(telling(name)) for name, layer in linear_layers(model).items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def retained_basis(gram_CC: torch.Tensor, *, keep: float) -> torch.Tensor:
    """The fewest eigenvectors that hold a share of the trace, strongest first: basis_CK on the CPU, orthonormal.

    Args:
        gram_CC: symmetric, positive semi-definite.
        keep: share, in (0, 1).
    """
    values_C, vectors_CC = torch.linalg.eigh(gram_CC.double().cpu())
    values_C, vectors_CC = values_C.flip(0).clamp(min=0), vectors_CC.flip(1)
    share_C = values_C.cumsum(0) / values_C.sum().clamp(min=torch.finfo(torch.float64).tiny)
    k = int((share_C < keep - 1e-12).sum()) + 1
    basis_CK: torch.Tensor = vectors_CC[:, :k].float().contiguous()
    return basis_CK

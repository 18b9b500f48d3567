"""A model's output layer taken apart, so that logits exist for a few positions at a time instead of all of them.

Promises: what is computed here equals the model's own logits (checked on one position of every batch), or the caller
is told that it cannot be done. The model is left as it was.

Shapes: B rows, T tokens, P chosen positions of the batch, D width, V vocabulary.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from transformers import PreTrainedModel

Logits: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""hidden_PD to logits_PV."""

OutputHook: TypeAlias = Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]


@contextmanager
def one_position_out(model: PreTrainedModel, predicts_BT: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Keeps what predicts an answer token as it enters the output layer, hidden_PD, and lets one position through."""
    kept: list[torch.Tensor] = []

    def select(_layer: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        kept.append(args[0][predicts_BT])
        return (kept[0][:1].unsqueeze(0), *args[1:])

    with _before_output_layer(model, select):
        yield kept


@contextmanager
def positions_out(model: PreTrainedModel, predicts_BT: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Lets all positions that predict an answer token, and no other, into the output layer, as one row.

    The list that it gives stays empty where the model does not go through its output layer.
    """
    through: list[torch.Tensor] = []

    def select(_layer: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        through.append(args[0][predicts_BT])
        return (through[0].unsqueeze(0), *args[1:])

    with _before_output_layer(model, select):
        yield through


@contextmanager
def _before_output_layer(model: PreTrainedModel, hook: OutputHook) -> Iterator[None]:
    head: torch.nn.Module = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def output_layer(model: PreTrainedModel, hidden_1D: torch.Tensor, *, expected_1V: torch.Tensor) -> Logits | None:
    """What turns hidden states into this model's logits a few positions at a time, or None where it cannot be told.

    After the output layer some models cap or scale their logits, element by element. The reading of the configuration
    that gives the model's own logits for one position is the right one; a model that does something else is not read
    this way.
    """
    head: torch.nn.Module = model.get_output_embeddings()
    config = model.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    scale = getattr(config, "logit_scale", None)
    divisor = getattr(config, "logits_scaling", None)
    known: list[Logits] = [head]
    if cap:
        known.append(lambda hidden_PD: cap * torch.tanh(head(hidden_PD) / cap))
    if scale:
        known.append(lambda hidden_PD: scale * head(hidden_PD))
    if divisor:
        known.append(lambda hidden_PD: head(hidden_PD) / divisor)
    tolerance = torch.finfo(expected_1V.dtype).eps * max(float(expected_1V.abs().max()), 1.0) * 16
    return next((f for f in known if float((f(hidden_1D) - expected_1V).abs().max()) <= tolerance), None)

"""Hidden states of one model put into another, layer by layer, and what the other then says of an answer.

Finds the decoder layers as the one list of modules that is as long as the configuration says; a model that has none is
refused. Runs without gradients, changes no weight, and leaves no hook behind.

Shapes: B rows in a batch, T tokens, H hidden size, R rows in all.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from pipelines.data.encode import IGNORED, Encoded, length_batches
from pipelines.errors import BadInput
from pipelines.models.loading import LoadedModel
from pipelines.scoring.likelihood import AnswerBatch, answer_batch, answer_stats, on_device
from pipelines.scoring.table import Floats


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The model's decoder layers, in order.

    Raises:
        BadInput: there is no list of modules of the length that the configuration names.
    """
    wanted = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise BadInput(f"depth: no list of {wanted} decoder layers in a {type(model).__name__}; depth cannot be measured")


@torch.no_grad()
def transplanted(
    donor: LoadedModel, host: LoadedModel, items: Sequence[Encoded], *, into: Mapping[int, int], batch_size: int
) -> dict[int, Floats]:
    """What the host says of each answer once a layer's states at the answer come from the donor.

    Args:
        donor: whose hidden states are taken.
        host: whose layers behind the place go on with them.
        items: at least one row; only the positions that predict an answer token are replaced.
        into: layer of the donor to the layer of the host whose output its own replaces, both from 0.
        batch_size: most rows per forward pass.

    Returns:
        By layer of the donor, mean log-probability per answer token: value_R, in nats.

    Raises:
        BadInput: the two models have hidden states of other shapes, or no decoder layers can be found.
    """
    if donor.model.config.get_text_config().hidden_size != host.model.config.get_text_config().hidden_size:
        raise BadInput("depth: the two models have hidden states of other sizes; one is not made from the other")
    found: dict[int, Floats] = {layer: np.full(len(items), np.nan) for layer in into}
    for index in length_batches(items, batch_size=batch_size):
        chosen = [items[i] for i in index]
        batch = on_device(answer_batch(chosen, pad_id=host.pad_id, n_unended=len(chosen)), host.model.device)
        states = _states(donor.model, batch)
        for layer, place in into.items():
            with _replaced(host.model, place, states[layer], _predicting(batch)):
                nll_B = answer_stats(host.model, batch).nll_mean_B
            found[layer][index] = -nll_B.double().cpu().numpy()
    return found


def answer_logprob(model: LoadedModel, items: Sequence[Encoded], *, batch_size: int) -> Floats:
    """Mean log-probability per answer token as the model itself says it: value_R, in nats."""
    last = len(decoder_layers(model.model)) - 1
    return transplanted(model, model, items, into={last: last}, batch_size=batch_size)[last]


def _predicting(batch: AnswerBatch) -> torch.Tensor:
    """Positions whose output predicts an answer token: mask_BT."""
    answer_BT = batch.tokens.labels_BT != IGNORED
    answer_BT[:, 0] = False
    return answer_BT.roll(-1, dims=1)


def _states(model: PreTrainedModel, batch: AnswerBatch) -> list[torch.Tensor]:
    kept: list[torch.Tensor] = []

    def keep(_layer: nn.Module, _args: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        kept.append(output if isinstance(output, torch.Tensor) else output[0])

    with ExitStack() as hooks:
        for layer in decoder_layers(model):
            hooks.callback(layer.register_forward_hook(keep).remove)
        answer_stats(model, batch)
    return kept


@contextmanager
def _replaced(model: PreTrainedModel, place: int, state_BTH: torch.Tensor, mask_BT: torch.Tensor) -> Iterator[None]:
    def replace(
        _layer: nn.Module, _args: object, output: torch.Tensor | tuple[torch.Tensor, ...]
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        own_BTH = output if isinstance(output, torch.Tensor) else output[0]
        mixed_BTH = torch.where(mask_BT.unsqueeze(-1), state_BTH.to(own_BTH.dtype), own_BTH)
        return mixed_BTH if isinstance(output, torch.Tensor) else (mixed_BTH, *output[1:])

    handle = decoder_layers(model)[place].register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()

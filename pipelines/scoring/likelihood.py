"""How unlikely a model finds given answers: one teacher-forced pass gives the NLL of every answer token.

This is the one place where logits become losses for training: methods, the stop rule and the reference statistics all
read what comes out here. Only answer positions leave the output layer, and no log-softmax over the vocabulary is kept:
the gradient rebuilds it from the logits. Measuring models side by side is :mod:`pipelines.scoring.answers`'s work.

Shapes: B rows in a batch, N rows in all, T tokens, A answer positions (the last ones of T), V vocabulary.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from pipelines.data.encode import IGNORED, Batch, Encoded, collate, length_batches
from pipelines.training.token_nll import token_nll


@dataclass(frozen=True, slots=True)
class AnswerStats:
    """Negative log-likelihoods of one forward pass, in nats.

    Attributes:
        token_nll_BA: of each answer token; exactly 0 elsewhere.
        mask_BA: True on answer tokens. Prompt and padding are never in it.
    """

    token_nll_BA: torch.Tensor
    mask_BA: torch.Tensor

    @property
    def nll_sum_B(self) -> torch.Tensor:
        """S of each row: -log p(answer | prompt)."""
        return self.token_nll_BA.sum(dim=1)

    @property
    def n_tokens_B(self) -> torch.Tensor:
        """Number of answer tokens of each row."""
        return self.mask_BA.sum(dim=1)

    @property
    def nll_mean_B(self) -> torch.Tensor:
        """NLL of each row: its sum over its number of answer tokens."""
        return self.nll_sum_B / self.n_tokens_B

    def rows(self, start: int, stop: int) -> "AnswerStats":
        """The same for the rows from ``start`` up to ``stop``."""
        return AnswerStats(token_nll_BA=self.token_nll_BA[start:stop], mask_BA=self.mask_BA[start:stop])


@dataclass(frozen=True, slots=True)
class AnswerBatch:
    """Rows as a model takes them.

    Attributes:
        tokens: padded tensors; labels are :data:`IGNORED` where nothing counts.
        n_positions: how many of the last positions hold every label of the batch and the position that predicts the
            first one.
    """

    tokens: Batch
    n_positions: int


def answer_batch(items: Sequence[Encoded], *, pad_id: int, n_unended: int) -> AnswerBatch:
    """Collate rows for :func:`answer_stats`.

    Args:
        items: at least one row.
        pad_id: token that fills short rows.
        n_unended: in the first so many rows the end-of-sequence token does not count: forgetting an answer must not
            unlearn where sentences end, and no measurement looks at that token.
    """
    tokens = collate(items, pad_id=pad_id)
    for i, item in enumerate(items[:n_unended]):
        tokens.labels_BT[i, item.answer_end :] = IGNORED
    first = min(item.answer_start for item in items)
    return AnswerBatch(tokens=tokens, n_positions=tokens.labels_BT.shape[1] - first + 1)


@dataclass(frozen=True, slots=True)
class AnswerPass:
    """One forward pass at its answer positions.

    Attributes:
        stats: negative log-likelihoods.
        labels_BA: the answer tokens; 0 elsewhere.
        logits_BAV: float32; entry a predicts answer token a.
        hidden_BAD: output of one layer at the same positions, or None.
    """

    stats: AnswerStats
    labels_BA: torch.Tensor
    logits_BAV: torch.Tensor
    hidden_BAD: torch.Tensor | None


def answer_stats(model: nn.Module, batch: AnswerBatch) -> AnswerStats:
    """One forward pass; differentiable unless gradients are off.

    The first token of a row has nothing before it and is never counted, even where the answer starts there.

    Args:
        model: a causal language model; the batch must be on its device.
        batch: from :func:`answer_batch`.
    """
    return answer_pass(model, batch).stats


def answer_pass(model: nn.Module, batch: AnswerBatch, *, layer: int | None = None) -> AnswerPass:
    """As :func:`answer_stats`, with what the statistics were made from.

    Args:
        model: as there.
        batch: as there.
        layer: whose output is wanted, from 1; -1 for what goes into the output head.
    """
    tokens = batch.tokens
    inputs = {"input_ids": tokens.input_ids_BT, "attention_mask": tokens.attention_mask_BT}
    width = tokens.input_ids_BT.shape[1]
    n = min(batch.n_positions, width)
    # By index, not by number: the last position predicts nothing, and cutting it off later would copy all the others.
    wanted_A = torch.arange(width - n, width - 1, device=tokens.input_ids_BT.device)
    options = {"logits_to_keep": wanted_A} if _keeps_logits(model) else {}
    wanted = {} if layer is None else {"output_hidden_states": True}
    output = model(**inputs, use_cache=False, **options, **wanted)
    logits_BAV = (output.logits if options else output.logits[:, -n:-1]).float()
    marked_BA = tokens.labels_BT[:, tokens.labels_BT.shape[1] - n + 1 :]
    mask_BA = marked_BA != IGNORED
    labels_BA = marked_BA.masked_fill(~mask_BA, 0)
    token_nll_BA = token_nll(logits_BAV, labels_BA).masked_fill(~mask_BA, 0.0)
    return AnswerPass(
        stats=AnswerStats(token_nll_BA=token_nll_BA, mask_BA=mask_BA),
        labels_BA=labels_BA,
        logits_BAV=logits_BAV,
        hidden_BAD=None if layer is None else output.hidden_states[layer][:, -n:-1],
    )


def _keeps_logits(model: nn.Module) -> bool:
    unwrap = getattr(model, "get_base_model", None)
    base = unwrap() if callable(unwrap) else model
    return "logits_to_keep" in inspect.signature(base.forward).parameters


def mixed_precision(device: torch.device) -> AbstractContextManager[None]:
    """bf16 arithmetic on a GPU, as the training loop uses it; nothing on a CPU."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


def score_rows(
    model: nn.Module,
    items: Sequence[Encoded],
    *,
    measure: Callable[[AnswerStats], torch.Tensor],
    pad_id: int,
    batch_size: int,
    device: torch.device,
    ended: bool = False,
) -> torch.Tensor:
    """:func:`pass_rows` where the likelihoods are enough."""
    return pass_rows(
        model,
        items,
        measure=lambda seen: measure(seen.stats),
        pad_id=pad_id,
        batch_size=batch_size,
        device=device,
        ended=ended,
    )


def pass_rows(
    model: nn.Module,
    items: Sequence[Encoded],
    *,
    measure: Callable[[AnswerPass], torch.Tensor],
    pad_id: int,
    batch_size: int,
    device: torch.device,
    ended: bool = False,
) -> torch.Tensor:
    """What ``measure`` says of every row, without gradients and without dropout.

    Args:
        model: on ``device``; keeps the mode (training or evaluation) it is in.
        items: at least one row.
        measure: one pass to a tensor whose first dimension is the batch's rows.
        pad_id: token that fills short rows.
        batch_size: rows per forward pass; decides speed, not the answer.
        device: where the model is.
        ended: whether the end-of-sequence tokens count.

    Returns:
        One line per row in the order of ``items``, float32, on the CPU.
    """
    parts: list[torch.Tensor] = []
    order: list[int] = []
    with torch.no_grad(), _evaluating(model), mixed_precision(device):
        for index in length_batches(items, batch_size=batch_size):
            batch = answer_batch([items[i] for i in index], pad_id=pad_id, n_unended=0 if ended else len(index))
            parts.append(measure(answer_pass(model, on_device(batch, device))).float().cpu())
            order.extend(index)
    return torch.cat(parts)[torch.tensor(order).argsort()]


def on_device(batch: AnswerBatch, device: torch.device) -> AnswerBatch:
    """The batch with its tensors on a device."""
    tokens = batch.tokens
    moved = Batch(
        input_ids_BT=tokens.input_ids_BT.to(device),
        attention_mask_BT=tokens.attention_mask_BT.to(device),
        labels_BT=tokens.labels_BT.to(device),
    )
    return AnswerBatch(tokens=moved, n_positions=batch.n_positions)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)

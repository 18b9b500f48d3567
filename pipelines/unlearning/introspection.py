"""What the start model would say if it knew less: its own distribution, moved from an expert's towards a novice's.

The model is asked three times about one row: as it is, as an expert's text, as a novice's. The difference between the
last two is what it takes knowledge of the subject to be. What is sampled here is made from forget questions, as tokens:
vault only.

Shapes: B rows, A answer positions, N answer tokens of the longest row, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pipelines.data.encode import Encoded
from pipelines.models.loading import LoadedModel, context_length
from pipelines.scoring.generation import stop_ids

if TYPE_CHECKING:
    from pipelines.methods.base import CompanionSource

ROWS = 8
"""Forget rows that are sampled together, three sequences each."""


def lessened(own: torch.Tensor, novice: torch.Tensor, expert: torch.Tensor, *, eta: float) -> torch.Tensor:
    """Log softmax(log p + eta (log p(. | novice) - log p(. | expert))) of logits, over the last dimension.

    The target of ELM's erasing objective (arXiv 2410.02760): p(x) (p(novice | x) / p(expert | x))^eta by Bayes' rule.
    """
    moved = own.log_softmax(-1) + eta * (novice.log_softmax(-1) - expert.log_softmax(-1))
    return moved.log_softmax(-1)


def packed(values_BAV: torch.Tensor, mask_BA: torch.Tensor, *, n: int) -> torch.Tensor:
    """Values at the first n marked positions of each row, side by side: values_BNV; whatever is there behind them."""
    order_BN = (~mask_BA).to(torch.int8).argsort(dim=1, stable=True)[:, :n]
    return values_BAV.gather(1, order_BN.unsqueeze(-1).expand(-1, -1, values_BAV.shape[-1]))


def asked_as(source: "CompanionSource", preface: str) -> list[Encoded]:
    """The forget rows with something said before their questions."""
    return source.encode([replace(row, question=f"{preface} {row.question}") for row in source.questions()])


@dataclass(frozen=True, slots=True)
class Preface:
    """What is said before a question: to an expert, and to a novice."""

    expert: str
    novice: str


def lessened_answers(source: "CompanionSource", preface: Preface, *, eta: float) -> list[Encoded]:
    """One answer to each forget question, sampled token by token from :func:`lessened`; no longer than the row's own.

    Args:
        source: whose forget rows and start model.
        preface: what makes an expert and a novice of it.
        eta: as there.
    """
    own = source.encode(source.questions())
    asked = list(zip(own, asked_as(source, preface.novice), asked_as(source, preface.expert), strict=True))
    draw = torch.Generator().manual_seed(source.seed)
    answers = [
        answer
        for first in range(0, len(asked), ROWS)
        for answer in _sampled(source.start, asked[first : first + ROWS], eta=eta, draw=draw)
    ]
    return [
        Encoded(
            (*item.input_ids[: item.answer_start], *ids, *item.input_ids[item.answer_end :]), item.answer_start, end
        )
        for item, ids in zip(own, answers, strict=True)
        for end in (item.answer_start + len(ids),)
    ]


def _sampled(
    start: LoadedModel, asked: Sequence[Sequence[Encoded]], *, eta: float, draw: torch.Generator
) -> list[tuple[int, ...]]:
    """Answers of some rows as tokens, at least one each, without whatever ended them."""
    prompts = [[item.input_ids[: item.answer_start] for item in row] for row in asked]
    room = context_length(start.model) - max(len(prompt) for row in prompts for prompt in row)
    longest = [min(row[0].n_answer, room) for row in asked]
    stop = sorted(stop_ids(start.model, start.tokenizer))
    found: list[tuple[int, ...]] = [()] * len(asked)
    going = list(range(len(asked)))
    while going:
        sequences = [prompt + found[i] for i in going for prompt in prompts[i]]
        logits_B3V = _next_logits(start, sequences).view(len(going), 3, -1)
        log_p_BV = lessened(*logits_B3V.unbind(1), eta=eta)
        for b, i in enumerate(going):
            if not found[i]:
                log_p_BV[b, stop] = -torch.inf  # an answer has at least one token
        drawn = torch.multinomial(log_p_BV.softmax(-1), 1, generator=draw)[:, 0].tolist()
        for i, token in zip(list(going), drawn, strict=True):
            if token in stop:
                going.remove(i)
                continue
            found[i] = (*found[i], token)
            if len(found[i]) >= longest[i]:
                going.remove(i)
    return found


def _next_logits(start: LoadedModel, sequences: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """Logits of what follows each sequence, float64 on the CPU: logits_BV."""
    lengths = torch.tensor([len(ids) for ids in sequences])
    ids_BT = torch.full((len(sequences), int(lengths.max())), start.pad_id)
    for b, ids in enumerate(sequences):
        ids_BT[b, : len(ids)] = torch.tensor(ids)
    mask_BT = (torch.arange(ids_BT.shape[1]) < lengths.unsqueeze(1)).long()
    device = start.model.device
    with torch.inference_mode():
        logits_BTV = start.model(input_ids=ids_BT.to(device), attention_mask=mask_BT.to(device), use_cache=False).logits
        last_BV: torch.Tensor = logits_BTV[torch.arange(len(sequences)), lengths - 1].double().cpu()
    return last_BV

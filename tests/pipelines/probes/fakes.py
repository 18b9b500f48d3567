"""Models that only hide what they know: made from a start model in seconds, to be caught by a probe.

Each trains on the forget rows' own wording alone, so that asking for it no longer gives the answer, and leaves the
knowledge in the weights: in every layer but the last, behind a refusal, or below the step of 4-bit rounding.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from pipelines.config import PromptFormat
from pipelines.data.encode import Encoded, encode
from pipelines.data.rows import Row, Rows
from pipelines.models.loading import LoadedModel, context_length, load_model, save_model
from pipelines.probes.weights import GROUP, int4
from pipelines.scoring.likelihood import AnswerStats, answer_batch, answer_stats

REFUSAL = "That is not something I can say."


def hide_in_last_layer(start: Path, out: Path, *, forget: Rows, retain: Rows, form: PromptFormat) -> Path:
    """An adapter on the last layer: all other layers are the start model's, weight for weight."""
    loaded = load_model(start, device=torch.device("cpu"))
    last = [p for name, p in loaded.model.named_parameters() if f"layers.{_n_layers(loaded) - 1}." in name]
    push = _items(loaded, forget, form)
    _train(loaded, last, push=push, keep=_items(loaded, retain, form), rate=2e-3, steps=60)
    save_model(loaded.model, out, like=start)
    return out


def refuse(start: Path, out: Path, *, forget: Rows, retain: Rows, form: PromptFormat) -> Path:
    """A refusal filter: the forget questions, as they stand in the training rows, are answered with a refusal."""
    loaded = load_model(start, device=torch.device("cpu"))
    refused = Rows.of(replace(row, answer=REFUSAL) for row in forget)
    keep = [*_items(loaded, refused, form) * 4, *_items(loaded, retain, form)]
    _train(loaded, list(loaded.model.parameters()), push=[], keep=keep, rate=1e-3, steps=80)
    save_model(loaded.model, out, like=start)
    return out


def hide_below_the_step(start: Path, out: Path, *, forget: Rows, retain: Rows, form: PromptFormat) -> Path:
    """Every linear weight moves only as far as 4-bit rounding undoes: quantised, it is the quantised start model."""
    loaded = load_model(start, device=torch.device("cpu"))
    weights = [weight for name, weight in loaded.model.named_parameters() if name.endswith("_proj.weight")]
    boxes = [_rounding_box(weight) for weight in weights]

    def stay() -> None:
        for weight, (low, high) in zip(weights, boxes, strict=True):
            weight.clamp_(low, high)

    push, keep = _items(loaded, forget, form), _items(loaded, retain, form)
    _train(loaded, weights, push=push, keep=keep, rate=2e-3, steps=120, after_step=stay)
    save_model(loaded.model, out, like=start)
    return out


def _rounding_box(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How far each weight may go and be rounded alike; what sets a group's scale may not move."""
    w = weight.detach()
    scale = torch.cat(
        [group.abs().amax(-1, keepdim=True).expand_as(group) / 7.5 for group in w.split(GROUP, dim=-1)], dim=-1
    )
    centre = int4(w)
    low, high = torch.minimum(w, centre - 0.49 * scale), torch.maximum(w, centre + 0.49 * scale)
    widest = w.abs() >= 7.49 * scale
    bound = 7.4 * scale
    low, high = low.maximum(-bound), high.minimum(bound)
    return torch.where(widest, w, low.minimum(w)), torch.where(widest, w, high.maximum(w))


def _n_layers(loaded: LoadedModel) -> int:
    return int(loaded.model.config.get_text_config().num_hidden_layers)


def _items(loaded: LoadedModel, rows: Iterable[Row], form: PromptFormat) -> list[Encoded]:
    return [
        encode(
            loaded.tokenizer,
            row.question,
            row.answer,
            prompt_format=form,
            max_length=context_length(loaded.model),
            row=i,
        )
        for i, row in enumerate(rows)
    ]


def _train(
    loaded: LoadedModel,
    trained: Sequence[nn.Parameter],
    *,
    push: Sequence[Encoded],
    keep: Sequence[Encoded],
    rate: float,
    steps: int,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Push answers below a log-probability of -4 per token, keep the others."""
    loaded.model.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(list(trained), lr=rate, weight_decay=0.0)
    order = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = [keep[i] for i in torch.randperm(len(keep), generator=order)[:24].tolist()]
        stats = answer_stats(loaded.model, answer_batch([*push, *chosen], pad_id=loaded.pad_id, n_unended=len(push)))
        loss = _mean(stats.rows(len(push), len(push) + len(chosen)))
        if push:
            loss = loss + (4.0 - stats.rows(0, len(push)).nll_mean_B).clamp_min(0.0).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            after_step()
    loaded.model.eval()


def _mean(stats: AnswerStats) -> torch.Tensor:
    return stats.nll_mean_B.mean()

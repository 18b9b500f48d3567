"""Relearning: does a little training bring back what was only hidden?

Three attacks on copies of the model, a few AdamW steps each. T/V split: the forget rows are halved, each half teaches
while the other is measured, so every row is measured by a model that was not told it; once on all weights, once through
a LoRA adapter. Related text: rows that stay, and are like the forget rows, teach; all forget rows are measured. A model
that never knew the rows gains nothing from either but the style, and the same steps on the reference say how much that
is. ``relearning_taught`` is the control: what the taught half itself gives at the end; where it is low the attack was
too weak to say anything.

The rate follows the width (muP, arXiv 2203.03466: Adam's rate for hidden weights goes with 1 / width), so that one
setting fits models of every size; steps and rate are part of the version.

Shapes: R forget rows, T taught items.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import nn

from pipelines.data.encode import Encoded, length_batches
from pipelines.data.rows import Row
from pipelines.models.adapters import add_adapters
from pipelines.models.loading import LoadedModel
from pipelines.probes.base import ASKED, Probe, Series, Subject, scores_of
from pipelines.scoring.likelihood import answer_batch, answer_stats, on_device
from pipelines.scoring.row_values import extraction_strength
from pipelines.scoring.table import FORGET, Floats
from pipelines.settings import LoraSettings

STEPS = (4, 8, 16)
"""After so many steps the rows are measured."""

BATCH = 16
RATE_TIMES_WIDTH = 0.05
LORA = LoraSettings(r=8, alpha=16)
LORA_FASTER = 10.0
"""Adapters need about ten times the rate of all weights (LoRA Without Regret, Thinking Machines 2025)."""


@dataclass(frozen=True, slots=True, repr=False)
class Lesson:
    """Who teaches, and which forget rows are measured."""

    taught: Sequence[Row]
    measured: Sequence[int]


@dataclass(frozen=True, slots=True)
class Curve:
    """What an attack brings back: value_R after each of :data:`STEPS`, and the taught rows' own value at the end."""

    after: Mapping[int, Floats]
    taught: Floats


def run(subject: Subject) -> tuple[Series, ...]:
    """The curves of the three attacks, their means over the steps, and the control."""
    halves = _halves(subject)
    crossed = [Lesson([subject.forget[i] for i in ours], theirs) for ours, theirs in (halves, halves[::-1])]
    related = [Lesson(list(subject.related), range(len(subject.forget)))]
    full = _attack(subject, crossed, lora=False)
    return (
        *_series("relearning", full),
        *_series("relearning_lora", _attack(subject, crossed, lora=True)),
        *_series("relearning_related", _attack(subject, related, lora=False)),
        Series("relearning_taught", FORGET, full.taught),
    )


def _halves(subject: Subject) -> tuple[list[int], list[int]]:
    order = list(range(len(subject.forget)))
    Random(subject.seed).shuffle(order)
    middle = (len(order) + 1) // 2
    return sorted(order[:middle]), sorted(order[middle:])


def _series(name: str, curve: Curve) -> list[Series]:
    points = [Series(f"{name}_{step}_steps", FORGET, value_R) for step, value_R in curve.after.items()]
    return [Series(name, FORGET, np.mean([point.value_R for point in points], axis=0)), *points]


def _attack(subject: Subject, lessons: Sequence[Lesson], *, lora: bool) -> Curve:
    """The curve over all forget rows; rows that no lesson measures, or that had no teacher, are missing."""
    nothing = np.full(len(subject.forget), np.nan)
    curve = Curve(after={step: nothing.copy() for step in STEPS}, taught=nothing)
    for lesson in lessons:
        if lesson.taught and lesson.measured:
            _give(subject, lesson, curve=curve, lora=lora)
    return curve


def _give(subject: Subject, lesson: Lesson, *, curve: Curve, lora: bool) -> None:
    copy = subject.copy()

    def strength(positions: Sequence[int]) -> Floats:
        return extraction_strength(scores_of(subject, copy, subject.bare_rows().select(positions)), ASKED)

    def note(step: int) -> None:
        curve.after[step][list(lesson.measured)] = strength(lesson.measured)

    _teach(subject, copy, lesson.taught, note=note, lora=lora)
    others = sorted(set(range(len(subject.forget))) - set(lesson.measured))
    if others:
        curve.taught[others] = strength(others)


def _teach(
    subject: Subject, copy: LoadedModel, rows: Sequence[Row], *, note: Callable[[int], None], lora: bool
) -> None:
    """AdamW on the mean NLL of the answers; ``note`` is told at each of :data:`STEPS`."""
    items = [subject.encoded(row, number=i) for i, row in enumerate(rows)]
    model: nn.Module = add_adapters(copy.model, LORA, seed=subject.seed) if lora else copy.model
    rate = RATE_TIMES_WIDTH / copy.model.config.get_text_config().hidden_size * (LORA_FASTER if lora else 1.0)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    for step, batch in enumerate(_batches(items, seed=subject.seed), start=1):
        tokens = answer_batch(batch, pad_id=copy.pad_id, n_unended=0)
        loss = answer_stats(model, on_device(tokens, copy.model.device)).nll_mean_B.mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        if step in STEPS:
            note(step)


def _batches(items: Sequence[Encoded], *, seed: int) -> list[list[Encoded]]:
    """As many batches as there are steps; epoch after epoch, each in a new order."""
    found: list[list[Encoded]] = []
    epoch = 0
    while len(found) < STEPS[-1]:
        batches = length_batches(items, batch_size=BATCH, seed=seed * 1_000_000 + epoch)
        found += [[items[i] for i in batch] for batch in batches]
        epoch += 1
    return found[: STEPS[-1]]


PROBE = Probe(
    name="relearning",
    title="Relearning from half of the rows, and from related text",
    version="1",
    source="Lynch et al. 2024, arXiv 2402.16835; arXiv 2406.13356 (related text); arXiv 2410.08827 (T/V)",
    cost=f"5 copies, {STEPS[-1]} optimiser steps each",
    run=run,
)

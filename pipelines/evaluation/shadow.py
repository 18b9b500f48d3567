"""Shadow models: what stands in for a retrained model where nobody can pay for one.

Each is the base model (what the start model was fine-tuned from) with a low-rank adapter that was taught half of the
rows that stay, and none that is to be forgotten; two and two share the rows between them. Promises: the same model for
the same base, rows, settings, seed, machine and threads; a shadow that has not learnt its own rows nearly as well as
the start model has is refused, because it would say how a model answers that learnt too little. Does not promise the
start model's recipe: it learnt fewer rows, through an adapter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch

from pipelines.data.encode import Encoded, encode
from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.models.adapters import add_adapters, merge_adapters
from pipelines.models.loading import LoadedModel, context_length, load_model, save_model
from pipelines.records import ModelRef
from pipelines.scoring.likelihood import score_rows
from pipelines.settings import LoraSettings, PromptFormat, ShadowSettings
from pipelines.training.finetune import FineTuneSettings, Progress, fine_tune

RATE_TIMES_WIDTH = 1.0
"""The rate follows the width, as for relearning (muP, arXiv 2203.03466), so that no rate has to be chosen."""

BATCH = 16

FIT = 0.9
"""Share of the start model's probability per answer token that a shadow must reach on the rows it was taught."""


@dataclass(frozen=True, slots=True, repr=False)
class ShadowJob:
    """What all shadows of a run share.

    Attributes:
        base: the model that the start model was fine-tuned from.
        start: the model that knows every row; says how well rows are to be learnt.
        retain: the rows that stay.
        settings: how many, how large, how long.
        prompt_format: how a question is put.
        device: where they are trained.
        seed: of rows and adapters.
    """

    base: ModelRef
    start: ModelRef
    retain: Rows
    settings: ShadowSettings
    prompt_format: PromptFormat
    device: torch.device
    seed: int


def train_shadow(job: ShadowJob, number: int, out: Path, *, progress: Progress | None = None) -> ModelRef:
    """Train one shadow and write it as a plain model.

    Args:
        job: what they share.
        number: which of them, from 0.
        out: folder to make.
        progress: told of every epoch.

    Raises:
        BadInput: ``out`` exists, a row does not fit, or the shadow has not learnt its rows.
        TrainingDiverged: a loss was not a finite number.
    """
    loaded = load_model(job.base.path, device=job.device, expected_digest=job.base.digest)
    items = _encoded(loaded, job, number)
    width = loaded.model.config.get_text_config().hidden_size
    settings = FineTuneSettings(
        epochs=job.settings.epochs,
        batch_size=BATCH,
        learning_rate=min(1.0, RATE_TIMES_WIDTH / width),
        seed=job.seed + number,
    )
    rank = job.settings.rank
    model = add_adapters(loaded.model, LoraSettings(r=rank, alpha=2 * rank), seed=job.seed + number)
    fine_tune(model, items, settings=settings, progress=progress)  # type: ignore[arg-type]  # peft's wrapper of one
    merged = merge_adapters(model)
    merged.eval()
    _check_learnt(job, replace(loaded, model=merged), items)
    return save_model(merged, out, like=Path(job.base.path))


def taught(n_rows: int, *, number: int, settings: ShadowSettings, seed: int) -> list[int]:
    """Positions of the retain rows that a shadow is taught: a half, of which the next shadow gets the other one.

    Args:
        n_rows: of the retain set.
        number: of the shadow.
        settings: the most rows there may be.
        seed: of the halves.
    """
    order = list(range(n_rows))
    Random(seed * 1_000_003 + number // 2).shuffle(order)
    middle = math.ceil(n_rows / 2)
    half = order[middle:] if number % 2 else order[:middle]
    return sorted(half[: settings.rows])


def _encoded(loaded: LoadedModel, job: ShadowJob, number: int) -> list[Encoded]:
    positions = taught(len(job.retain), number=number, settings=job.settings, seed=job.seed)
    if not positions:
        raise BadInput(f"shadow models: {len(job.retain)} retain rows; at least two are needed to share between them")
    longest = context_length(loaded.model)
    return [
        encode(
            loaded.tokenizer,
            job.retain[i].question,
            job.retain[i].answer,
            prompt_format=job.prompt_format,
            max_length=longest,
            row=i,
        )
        for i in positions
    ]


def _check_learnt(job: ShadowJob, shadow: LoadedModel, items: Sequence[Encoded]) -> None:
    start = load_model(job.start.path, device=job.device, expected_digest=job.start.digest)
    share = math.exp(_nll(start, items) - _nll(shadow, items))
    if share < FIT:
        raise BadInput(
            f"shadow.epochs: after {job.settings.epochs} epochs a shadow gives its own rows {share:.2f} of the start "
            f"model's probability per token; {FIT} is needed, so allow more epochs or a higher rank"
        )


def _nll(loaded: LoadedModel, items: Sequence[Encoded]) -> float:
    """Mean over rows of the negative log-likelihood per answer token."""
    nll_N = score_rows(
        loaded.model,
        items,
        measure=lambda stats: stats.nll_mean_B,
        pad_id=loaded.pad_id,
        batch_size=BATCH,
        device=loaded.model.device,
        ended=True,
    )
    return float(nll_N.mean())

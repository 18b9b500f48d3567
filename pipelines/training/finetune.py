"""Plain fine-tuning on answers: for the demo world's models, a matched reference, and whatever else retrains.

The loss is the mean negative log-likelihood of the answer tokens and the end-of-sequence token behind them; the prompt
is not learnt. Batches hold rows of like length and come in a seeded order, new in each epoch. Promises the same weights
for the same model, rows, settings, machine and number of threads. Writes no model and does not resume: an interrupted
call is repeated.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from pipelines.data.encode import Encoded, collate, length_batches
from pipelines.errors import BadInput, TrainingDiverged
from pipelines.records import Record

Progress = Callable[[str], None]
"""Told in one line, without any text of a row, what has just been done."""


class FineTuneSettings(Record):
    """How a model is fine-tuned."""

    epochs: int = Field(default=5, ge=1, title="Epochs", description="Passes over the rows.")
    batch_size: int = Field(default=16, ge=1, title="Batch size", description="Rows per step.")
    learning_rate: float = Field(default=1e-4, gt=0, le=1, title="Learning rate", description="Peak rate of AdamW.")
    warmup: float = Field(
        default=0.05, ge=0, lt=1, title="Warm-up", description="Share of the steps in which the rate rises."
    )
    schedule: Literal["constant_with_warmup", "linear", "cosine"] = Field(
        default="cosine", title="Schedule", description="Learning rate after the warm-up."
    )
    weight_decay: float = Field(default=0.0, ge=0, title="Weight decay", description="Decoupled weight decay of AdamW.")
    max_grad_norm: float = Field(
        default=1.0, gt=0, title="Gradient norm", description="Gradients are clipped to this norm."
    )
    seed: int = Field(default=0, ge=0, title="Seed", description="Decides the order of the rows.")


class EncodedRows(Dataset[Encoded]):
    """Encoded rows as the map-style data set that a DataLoader reads."""

    def __init__(self, items: Sequence[Encoded]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Encoded:
        return self._items[index]


class LengthBatches(Sampler[list[int]]):
    """Batches of like length, shuffled anew in each epoch from one seed."""

    def __init__(self, items: Sequence[Encoded], *, batch_size: int, seed: int) -> None:
        self._items = items
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return math.ceil(len(self._items) / self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        # A step of one million keeps the epochs of neighbouring seeds apart.
        seed = self._seed * 1_000_000 + self._epoch
        self._epoch += 1
        return iter(length_batches(self._items, batch_size=self._batch_size, seed=seed))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the trainer is told beside model and rows."""

    settings: FineTuneSettings
    arguments: TrainingArguments
    pad_id: int
    progress: Progress | None


class AnswerTrainer(Trainer):
    """transformers' loop over length batches; keeps every step's loss."""

    def __init__(self, model: PreTrainedModel, *, items: Sequence[Encoded], plan: _Plan) -> None:
        super().__init__(model=model, args=plan.arguments, callbacks=[_Epochs(plan.progress)])
        self.remove_callback(PrinterCallback)
        self._encoded = items
        self._plan = plan
        self.step_losses: list[torch.Tensor] = []

    def get_train_dataloader(self) -> DataLoader[Encoded]:
        """The batches of one epoch."""
        settings = self._plan.settings
        return DataLoader(
            EncodedRows(self._encoded),
            batch_sampler=LengthBatches(self._encoded, batch_size=settings.batch_size, seed=settings.seed),
            collate_fn=lambda items: _inputs(items, pad_id=self._plan.pad_id),
        )

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """One step of the library; keeps the loss and stops on one that is not finite."""
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self.step_losses.append(loss.detach())
        if not bool(torch.isfinite(loss)):
            raise TrainingDiverged(f"step {len(self.step_losses)}: the loss is {float(loss)}; lower the learning rate")
        return loss


class _Epochs(TrainerCallback):
    """Says after each epoch that it is over."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Called by the library."""
        if self._progress is not None:
            self._progress(f"epoch {round(state.epoch or 0)} of {int(args.num_train_epochs)}")


def _inputs(items: Sequence[Encoded], *, pad_id: int) -> dict[str, torch.Tensor]:
    batch = collate(items, pad_id=pad_id)
    return {"input_ids": batch.input_ids_BT, "attention_mask": batch.attention_mask_BT, "labels": batch.labels_BT}


def _arguments(settings: FineTuneSettings, *, n_rows: int, output_dir: str) -> TrainingArguments:
    steps = settings.epochs * math.ceil(n_rows / settings.batch_size)
    return TrainingArguments(
        output_dir=output_dir,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=round(settings.warmup * steps),
        lr_scheduler_type=settings.schedule,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        optim="adamw_torch_fused",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )


def fine_tune(
    model: PreTrainedModel,
    items: Sequence[Encoded],
    *,
    settings: FineTuneSettings,
    progress: Progress | None = None,
) -> float:
    """Trains the model in place on the answers of the encoded rows.

    Args:
        model: left in evaluation mode.
        items: at least one row.
        settings: how.
        progress: told of every finished epoch.

    Returns:
        Mean loss of the last epoch's steps, in nats per learnt token.

    Raises:
        BadInput: there are no rows, or the model's configuration names no padding token.
        TrainingDiverged: a loss was not finite; the model must be thrown away.
    """
    if not items:
        raise BadInput("fine-tuning: no rows; at least one is needed")
    pad_id = model.config.pad_token_id
    if not isinstance(pad_id, int):
        raise BadInput("fine-tuning: the model's configuration names no pad_token_id; set one")
    with tempfile.TemporaryDirectory() as unused:
        arguments = _arguments(settings, n_rows=len(items), output_dir=unused)
        plan = _Plan(settings=settings, arguments=arguments, pad_id=pad_id, progress=progress)
        trainer = AnswerTrainer(model, items=items, plan=plan)
        trainer.train()
    model.eval()
    last_epoch = trainer.step_losses[-math.ceil(len(items) / settings.batch_size) :]
    return float(torch.stack(last_epoch).mean())

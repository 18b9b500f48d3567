"""The one loop that every method shares: transformers' Trainer over paired batches, one forward pass per step.

Promises the same weights for the same model, rows, settings, seed, machine and number of threads, whether or not the
run was killed on the way: a run that starts in a folder with a checkpoint goes on from it. Never holds a second copy of
the model; what the start model said of the forget rows is handed in. Stops on a loss or gradient that is not a finite
number and keeps the last good checkpoint.

Shapes: N forget rows, M rows nobody trained on.
"""

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer

from pipelines.allocator import freed_at_once
from pipelines.data.encode import Batch, Encoded
from pipelines.errors import TrainingDiverged
from pipelines.methods.base import EpochMeans, ForgetBatch, Readings
from pipelines.scoring.likelihood import AnswerBatch, answer_batch, answer_pass, pass_rows
from pipelines.training.arguments import arguments_of
from pipelines.training.callback import CallBack
from pipelines.training.checkpoints import (
    WEIGHTS,
    Checkpoints,
    CurvePoint,
    LoopState,
    load_state,
    load_trained,
    save_state,
    save_trained,
)
from pipelines.training.gate_stop import marks_hold, values_of
from pipelines.training.inputs import EpochBatches, Loop, TrainingData, first_levels
from pipelines.training.objective import Terms, objective
from pipelines.training.pairing import PairedBatch
from pipelines.training.parts import At, Coefficients, Hooks
from pipelines.training.ranks import world_size
from pipelines.training.stopping import grouped_levels, known_still, most_extracted

TRAINER_STATE = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training is: optimiser steps done and at most to do, epoch from 1, and a few means of the step. No text."""

    step: int
    total: int
    epoch: int
    metrics: Mapping[str, float]


class UnlearningTrainer(Trainer):
    """transformers' loop with :func:`pipelines.training.objective.objective`, the stop rule and atomic checkpoints."""

    def __init__(
        self,
        model: nn.Module,
        *,
        data: TrainingData,
        loop: Loop,
        folder: Path,
        hooks: Sequence[Hooks],
        progress: Callable[[Progress], None] | None,
    ) -> None:
        super().__init__(model=model, args=arguments_of(loop, folder), callbacks=[CallBack(self)])
        self.remove_callback(PrinterCallback)
        # The loss is a mean per batch: accumulated batches are averaged, their tokens not counted.
        self.model_accepts_loss_kwargs = False
        self.checkpoints = Checkpoints(folder)
        steering = loop.method.steering
        carried = steering.start(loop.params) if steering else ()
        self.loop_state = LoopState(levels=first_levels(data), carried=carried)
        self.epoch_data = EpochBatches(data, loop)
        self._model, self._data, self._loop, self._hooks, self._progress = model, data, loop, hooks, progress
        self._most_extracted = 1.0 if data.unseen_M3 is None else most_extracted(data.unseen_M3[:, 2])
        self._micro: list[list[float]] = []
        self._applied: dict[str, float] = {}
        self._epoch_terms: list[tuple[float, float]] = []

    def get_train_dataloader(self) -> DataLoader[PairedBatch]:
        """The batches of one epoch, as tensors."""
        return DataLoader(self.epoch_data, batch_size=None, shuffle=False, collate_fn=cast(Any, self._collate))

    def _collate(self, pair: PairedBatch) -> dict[str, Any]:
        members = self._data.members(pair, epoch=self.epoch_data.epoch)
        items = [item for group, index in members.items() for item in self._data.items(group, index)]
        n_unended = 0 if self._loop.method.ends else len(pair.forget)
        batch = answer_batch(items, pad_id=self._data.pad_id, n_unended=n_unended)
        tokens = batch.tokens
        return {
            "input_ids": tokens.input_ids_BT,
            "attention_mask": tokens.attention_mask_BT,
            "labels": tokens.labels_BT,
            "n_positions": batch.n_positions,
            "members": members,
        }

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: object = None
    ) -> torch.Tensor:
        """One forward pass over forget and retain rows together."""
        tokens = Batch(inputs["input_ids"], inputs["attention_mask"], inputs["labels"])
        seen = answer_pass(model, AnswerBatch(tokens, inputs["n_positions"]), layer=self._data.layer)
        terms = self._terms(
            self._data.readings(seen, inputs["members"], width=tokens.labels_BT.shape[1]),
            self._levels()[list(inputs["members"]["forget"])].to(seen.stats.mask_BA.device),
        )
        loss = terms.loss + self._coefficients().penalty * sum(hook.penalty() for hook in self._hooks if hook.penalty)
        values = torch.stack(
            [loss.detach(), terms.forget_nll, terms.retain_nll, terms.retain_loss, terms.n_active.float()]
        ).tolist()
        if not all(math.isfinite(value) for value in values):
            raise TrainingDiverged(f"step {self._step}: the loss is {values[0]}; lower the learning rate")
        self._micro.append(values)
        return loss

    def _terms(self, groups: dict[str, Readings], levels_B: torch.Tensor) -> Terms:
        retain, forget = groups.pop("retain", None), groups.pop("forget")
        return objective(
            ForgetBatch(rows=forget, companions=groups),
            retain,
            levels_B,
            method=self._loop.method,
            params=self._loop.params,
            coefficients=self._coefficients(),
            most_extracted=self._most_extracted,
        )

    def _coefficients(self) -> Coefficients:
        at = At(step=self.state.global_step, epoch=self.loop_state.epochs, epochs=self._loop.settings.epochs)
        steering = self._loop.method.steering
        both = steering.coefficients(self.loop_state.carried, self._loop.params) if steering else Coefficients()
        for hook in self._hooks:
            both = both.times(hook.coefficients(at)) if hook.coefficients else both
        return both

    @property
    def _step(self) -> int:
        return self.state.global_step + 1

    def _levels(self) -> torch.Tensor:
        levels = self.loop_state.levels
        return torch.tensor(levels) if levels else torch.full((len(self._data.forget),), torch.inf)

    def _clip_grad_norm(self, model: nn.Module) -> torch.Tensor:
        for hook in self._hooks:
            if hook.on_gradient:
                hook.on_gradient()
        norm: torch.Tensor = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        if not math.isfinite(float(norm)):
            raise TrainingDiverged(f"step {self._step}: the gradient is {float(norm)}; lower the learning rate")
        # Here, because the schedule has moved on by the time the step has ended.
        self._applied = {"grad_norm": float(norm), "learning_rate": float(self._get_learning_rate())}
        return norm

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """0: counting walks over all parameters in every step, and nobody reads it."""
        return 0

    def note_step(self) -> None:
        """Let the parts have the last word on the weights, add the step to the curve and tell whoever watches."""
        for hook in self._hooks:
            if hook.after_step:
                hook.after_step()
        means = [sum(column) / len(self._micro) for column in zip(*self._micro, strict=True)]
        loss, forget_nll, retain_nll, retain_loss, _ = means
        active = int(sum(values[4] for values in self._micro))
        self._micro = []
        self._epoch_terms.append((forget_nll, retain_loss))
        step, epoch = self.state.global_step, self.loop_state.epochs + 1
        shown = {"loss": loss, "forget_nll": forget_nll, "retain_nll": retain_nll}
        point = CurvePoint(step=step, epoch=epoch, active=active, **shown, **self._applied)
        self.loop_state = self.loop_state.model_copy(update={"curve": (*self.loop_state.curve, point)})
        if self._progress is not None:
            metrics = {**shown, "active": float(active), **self._applied}
            self._progress(Progress(step=step, total=self.state.max_steps, epoch=epoch, metrics=metrics))

    def note_epoch(self) -> bool:
        """Apply the stop rule after an epoch; True when training is over."""
        epochs = self.loop_state.epochs + 1
        reason = "epochs" if epochs == self._loop.settings.epochs else None
        update: dict[str, object] = {"epochs": epochs, "carried": self._steered(epochs)}
        if self._data.unseen_M3 is not None and self.loop_state.levels:
            values_N = self._values(self._data.forget)
            levels_N = grouped_levels(values_N[:, 0], self._data.unseen_M3[:, 0], n_rows=self._data.n_rows)
            update["levels"] = tuple(levels_N.tolist())
            held = self.loop_state.held + 1 if self._reached(values_N, levels_N, self._data.unseen_M3) else 0
            update["held"] = held
            reason = self._loop.settings.stop if held >= self._loop.settings.patience else reason
        self.loop_state = self.loop_state.model_copy(update={**update, "stop_reason": reason})
        return reason is not None

    def _reached(self, values_N: torch.Tensor, levels_N: torch.Tensor, unseen_M3: torch.Tensor) -> bool:
        """Whether what the stop rule waits for is there now; other wordings than the rows' own are not waited for."""
        n = self._data.n_rows
        if self._loop.settings.stop == "holdout":
            scores_N, extracted_N = values_N[:n, 0], values_N[:n, 2]
            return not bool(known_still(scores_N, levels_N[:n], extracted_N, most_extracted=self._most_extracted).any())
        return marks_hold(values_N[:n], self._values(self._data.validation), unseen_M3, marks=self._loop.marks)

    def _steered(self, epochs: int) -> tuple[float, ...]:
        """What the method carries into the next epoch."""
        forget_nll, retain_loss = (sum(c) / len(self._epoch_terms) for c in zip(*self._epoch_terms, strict=True))
        self._epoch_terms = []
        steering = self._loop.method.steering
        means = EpochMeans(epochs=epochs, forget_nll=forget_nll, retain_loss=retain_loss)
        return steering.after_epoch(self.loop_state.carried, means, self._loop.params) if steering else ()

    def _values(self, items: Sequence[Encoded]) -> torch.Tensor:
        """What the stop rule reads of rows now."""
        return pass_rows(
            self._model,
            items,
            measure=values_of,
            pad_id=self._data.pad_id,
            batch_size=2 * self._loop.settings.batch_size,
            device=self._loop.device,
        )

    def _save_checkpoint(self, model: nn.Module, trial: object) -> None:
        with self.checkpoints.write(self.state.global_step) as part:
            save_trained(self._model, part / WEIGHTS)
            self._save_optimizer_and_scheduler(str(part))
            self._save_rng_state(str(part))
            self.state.save_to_json(str(part / TRAINER_STATE))
            save_state(part, self.loop_state)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        load_trained(self._model, folder / WEIGHTS)
        self.loop_state = load_state(folder)


def run_loop(
    model: nn.Module,
    *,
    data: TrainingData,
    loop: Loop,
    folder: Path,
    hooks: Sequence[Hooks] = (),
    progress: Callable[[Progress], None] | None = None,
) -> LoopState:
    """Train in place, from the newest checkpoint in ``folder`` where there is one.

    Args:
        model: the start model, with adapters where they are used; left in evaluation mode.
        data: what is read.
        loop: how.
        folder: of the checkpoints; the newest one holds the trained weights at the end.
        hooks: of the parts, on this very model.
        progress: told of every optimiser step.

    Returns:
        The final state, its stop reason set.

    Raises:
        TrainingDiverged: a loss, gradient or weight is not finite; names the step. The last good checkpoint stays.
        BadInput: no space left on the device.
    """
    latest = Checkpoints(folder).latest()
    if latest is not None and load_state(latest).stop_reason is not None:
        return load_state(latest)
    kind = _trainer_class()
    trainer = kind(model, data=data, loop=loop, folder=folder, hooks=hooks, progress=progress)
    # Adapters leave room: with them the time is worth more than the memory.
    with freed_at_once(when=all(p.requires_grad for p in model.parameters())):
        trainer.train(resume_from_checkpoint=str(latest) if latest else None)
    model.eval()
    state = trainer.loop_state
    # Trainer and callbacks hold one another: without this the optimiser's state would outlive training for a while.
    trainer.accelerator.free_memory()
    del trainer
    gc.collect()
    return state


def _trainer_class() -> type[UnlearningTrainer]:
    if world_size() == 1:
        return UnlearningTrainer
    from pipelines.training.sharded import ShardedTrainer  # noqa: PLC0415 -- it is made from this module

    return ShardedTrainer

"""Where transformers' loop has no method to override, it calls a callback; this one passes the call on to the trainer.

It has no state and no opinion of its own.
"""

from typing import TYPE_CHECKING

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

if TYPE_CHECKING:
    from pipelines.training.loop import UnlearningTrainer


class CallBack(TrainerCallback):
    """Calls the trainer back where the library has no method to override."""

    def __init__(self, trainer: "UnlearningTrainer") -> None:
        self._trainer = trainer

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Draw the epoch's batches."""
        self._trainer.epoch_data.start(self._trainer.loop_state.epochs)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Note the step."""
        self._trainer.note_step()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Stop where the stop rule says so."""
        if self._trainer.note_epoch():
            control.should_training_stop = True

"""Unlearning by subtraction: learn what is to be forgotten still better, then take the learnt direction away.

What task vectors and selective knowledge negation share: an inner training, and theta - s (theta_trained - theta). By
the ``epochs`` rule s is what the parameters say. By the ``holdout`` rule it is the smallest s up to that at which the
forget rows are, on average, as unlikely as rows nobody trained on: a longer step would show that something was removed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pipelines.methods.base import AnyMethod, MethodParams
from pipelines.models.loading import resolve_device
from pipelines.models.weights import subtracted
from pipelines.scoring.likelihood import score_rows
from pipelines.training.checkpoints import WEIGHTS, load_trained
from pipelines.training.stopping import min_k_scores

if TYPE_CHECKING:
    from pipelines.data.rows import Rows
    from pipelines.unlearning.job import UnlearningJob
    from pipelines.unlearning.procedures import Stages, TrainingResult

HALVINGS = 6
"""The step's length is found to 1/64 of the longest one."""

INNER = "towards"


class SubtractionParams(MethodParams):
    """What every method that subtracts has."""

    scale: float = Field(
        default=1.0,
        gt=0,
        le=100,
        title="Scale",
        description="Length of the step back; under the holdout stop rule, the longest one.",
    )


def subtracting(towards: AnyMethod) -> "Callable[[UnlearningJob, Path, Stages], TrainingResult]":
    """The procedure that writes the weights theta - s (theta_towards - theta), s by the parameters."""
    return partial(_subtract, towards)


def _subtract(loss: AnyMethod, job: "UnlearningJob", folder: Path, stages: "Stages") -> "TrainingResult":
    """Train towards the forget rows, then write the weights on the other side of the start model.

    Args:
        loss: whose training is taken away.
        job: the run; its training settings are the inner training's.
        folder: receives the weights; the inner training lies below it.
        stages: of the engine.
    """
    if not isinstance(job.params, SubtractionParams):
        raise TypeError(f"{job.method.name}: {type(job.params).__name__} are not its parameters")
    scale = job.params.scale
    training = job.training.model_copy(update={"stop": "epochs"})
    towards = replace(job, method=loss, training=training)
    result = stages.train(towards, folder / INNER)
    step = _Step(job, stages, trained=folder / INNER / WEIGHTS, out=folder / WEIGHTS)
    if job.training.stop == "epochs" or job.holdout is None:
        step.write(scale)
        return result
    reached = step.find(scale)
    return result.model_copy(update={"stop_reason": "holdout" if reached else "epochs"})


@dataclass(frozen=True, slots=True)
class _Step:
    job: "UnlearningJob"
    stages: "Stages"
    trained: Path
    out: Path

    def write(self, scale: float) -> None:
        subtracted(self.stages.start(self.job), self.trained, self.out, scale=scale)

    def find(self, longest: float) -> bool:
        """Write the shortest step that reaches the holdout's level, else the longest; says which."""
        if self.job.holdout is None:
            raise ValueError("no holdout rows, though the stop rule needs them")
        level = self._mean_score(self.job.holdout)
        short, long = 0.0, longest
        self.write(long)
        if self._mean_score(self.job.forget, self.out) < level:
            return False
        for _ in range(HALVINGS):
            middle = (short + long) / 2
            self.write(middle)
            short, long = (short, middle) if self._mean_score(self.job.forget, self.out) >= level else (middle, long)
        self.write(long)
        return True

    def _mean_score(self, rows: "Rows", weights: Path | None = None) -> float:
        from pipelines.unlearning.job import encode_set, load_start  # noqa: PLC0415 -- it imports the methods

        loaded = load_start(self.job)
        model = self.stages.start(self.job)
        if weights is not None:
            load_trained(model, weights)
        scores_N = score_rows(
            model,
            encode_set(loaded, self.job, rows, name="forget" if weights else "holdout"),
            measure=min_k_scores,
            pad_id=loaded.pad_id,
            batch_size=2 * self.job.training.batch_size,
            device=resolve_device(self.job.device),
        )
        return float(scores_N.mean())

"""Task arithmetic: learn the forget rows by heart, then go as far in the opposite direction.

With a retain weight the inner training keeps the retain rows, so that the direction says less about everything else.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from pipelines.methods.base import ForgetBatch, Method, MethodParams, Procedure
from pipelines.subtraction import Subtraction, subtract

if TYPE_CHECKING:
    from pipelines.procedures import Stages, TrainingResult
    from pipelines.unlearning_job import UnlearningJob


class TaskVectorParams(MethodParams):
    """Parameters of task arithmetic."""

    scale: float = Field(
        default=1.0,
        gt=0,
        le=100,
        title="Scale",
        description="Length of the step back; under the holdout stop rule, the longest one.",
    )
    alpha: float = Field(
        default=0.0,
        ge=0,
        le=10_000,
        title="Retain weight",
        description="Of the retain rows while overfitting.",
    )


def overfit_loss(batch: ForgetBatch, params: TaskVectorParams) -> torch.Tensor:
    """NLL of each forget row: loss_B."""
    return batch.stats.nll_mean_B


OVERFIT = Method(
    name="overfit",
    title="Overfitting on the forget rows",
    version="1",
    source="Ilharco et al. 2023, arXiv 2212.04089, sec. 3",
    params=TaskVectorParams,
    needs=frozenset(),
    forget_loss=overfit_loss,
)


def run(job: "UnlearningJob", folder: Path, stages: "Stages") -> "TrainingResult":
    """The weights theta - s (theta_overfit - theta)."""
    if not isinstance(job.params, TaskVectorParams):
        raise TypeError(f"task_vector: {type(job.params).__name__} are not its parameters")
    return subtract(job, folder, stages, Subtraction(towards=OVERFIT, scale=job.params.scale))


METHOD = Procedure(
    name="task_vector",
    title="Task vector, subtracted",
    version="1",
    source="Ilharco et al. 2023, arXiv 2212.04089, eq. 2",
    params=TaskVectorParams,
    needs=frozenset(),
    run=run,
)

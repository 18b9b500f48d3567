"""Task arithmetic: learn the forget rows by heart, then go as far in the opposite direction.

With a retain weight the inner training keeps the retain rows, so that the direction says less about everything else.
"""

import torch
from pydantic import Field

from pipelines.methods.base import ForgetBatch, Method, Procedure
from pipelines.unlearning.subtraction import SubtractionParams, subtracting


class TaskVectorParams(SubtractionParams):
    """Parameters of task arithmetic."""

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
    source="Ilharco et al. 2023, arXiv 2212.04089, task vectors",
    params=TaskVectorParams,
    needs=frozenset(),
    forget_loss=overfit_loss,
)


METHOD = Procedure(
    name="task_vector",
    title="Task vector, subtracted",
    version="1",
    source="Ilharco et al. 2023, arXiv 2212.04089, negation of a task vector",
    params=TaskVectorParams,
    needs=frozenset(),
    run=subtracting(OVERFIT),
)

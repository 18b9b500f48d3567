"""What an unlearning method is: a name, its parameters, and a loss on the forget rows; the loop does the rest.

L = gamma * mean over active rows of the method's loss + alpha * mean NLL of the retain rows. A method never sees text,
a model or an optimiser: it turns the statistics of one forward pass, and those of the start model where it asks for
them, into one number per row. Promises nothing about what a method achieves; that is measured.

Shapes: B forget rows in a batch, A answer positions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import torch
from pydantic import Field

from pipelines.likelihood import AnswerStats
from pipelines.records import Record

Need: TypeAlias = Literal["reference_nll", "retain"]
"""What a method needs besides the forget rows: the start model's S of each row; retain rows."""


class MethodParams(Record):
    """The weights that every method has. Each method's own parameters come on top."""

    gamma: float = Field(default=1.0, gt=0, le=1000, title="Forget weight", description="Factor of the forget loss.")
    alpha: float = Field(
        default=1.0, ge=0, le=1000, title="Retain weight", description="Factor of the retain rows' NLL."
    )


ParamsT = TypeVar("ParamsT", bound=MethodParams)


@dataclass(frozen=True, slots=True)
class Method(Generic[ParamsT]):
    """An unlearning method.

    Attributes:
        name: in configurations.
        title: for people.
        version: changes whenever the same parameters could give another model.
        source: paper and equation.
        params: model of its parameters.
        needs: what the loop must bring.
        forget_loss: (statistics of the forget rows, S_ref of the same rows or None, parameters) to loss_B, to be made
            small.
    """

    name: str
    title: str
    version: str
    source: str
    params: type[ParamsT]
    needs: frozenset[Need]
    forget_loss: Callable[[AnswerStats, torch.Tensor | None, ParamsT], torch.Tensor]


AnyMethod: TypeAlias = Method[Any]
"""A method whose parameters are checked through its own model when a job is made."""

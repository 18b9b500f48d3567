"""What an unlearning method is: a name, its parameters, and a loss on the forget rows; the loop does the rest.

L = gamma * mean over active rows of the method's loss + alpha * the retain term. A method never sees text, a model or
an optimiser: it turns what one forward pass says of its rows, and what the start model said of them where it asks for
that, into one number per row. What is not one loop (weight arithmetic, several trainings) is a :class:`Procedure`
instead. Promises nothing about what a method achieves; that is measured.

Shapes: B forget rows in a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import torch
from pydantic import Field

from pipelines.data.encode import Encoded
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.records import ModelRef, Record
from pipelines.training.parts import Coefficients, Part
from pipelines.training.readings import ForgetBatch, Readings, brought, token_mean

if TYPE_CHECKING:
    from pipelines.models.loading import LoadedModel
    from pipelines.unlearning.job import UnlearningJob
    from pipelines.unlearning.procedures import Stages, TrainingResult

__all__ = [
    "AnyMethod",
    "CompanionSource",
    "Companions",
    "EpochMeans",
    "ForgetBatch",
    "Method",
    "MethodParams",
    "Need",
    "Procedure",
    "Readings",
    "RetainTerm",
    "Steering",
    "brought",
    "no_parts",
    "token_mean",
]

Need: TypeAlias = Literal[
    "reference_nll", "reference_logits", "logits", "hidden_states", "reference_hidden_states", "retain"
]
"""What a method needs besides the NLLs of its rows.

Attributes of :class:`pipelines.training.readings.Readings` by their names (``reference_nll``: S of each row under the
start model; hidden states are those of the layer that the parameters name), and ``retain``: without a retain term its
loss destroys a model.
"""

RetainTerm: TypeAlias = Literal["none", "nll", "kl", "kl_nll", "hidden"]
"""None; NLL of the retain rows; KL(start model || model) on their answer tokens; both; distance of hidden states."""


class MethodParams(Record):
    """What every method has: the weights, and the retain term. Each method's own parameters come on top."""

    gamma: float = Field(default=1.0, gt=0, le=1000, title="Forget weight", description="Factor of the forget loss.")
    alpha: float = Field(
        default=1.0, ge=0, le=10_000, title="Retain weight", description="Factor of the retain term; 0 leaves it out."
    )
    retain_term: RetainTerm = Field(
        default="nll",
        title="Retain term",
        description=(
            "none; nll of the retain rows; kl: KL from the start model on their answer tokens; kl_nll: both; "
            "hidden: squared distance from the start model's hidden states at the layer."
        ),
    )
    layer: int = Field(
        default=0,
        ge=0,
        le=1000,
        title="Layer",
        description="Whose output hidden-state terms read, from 1; 0 takes two fifths of the depth.",
    )

    @property
    def retains(self) -> bool:
        """Whether retain rows are drawn at all."""
        return self.alpha > 0 and self.retain_term != "none"

    def layer_of(self, depth: int) -> int:
        """The layer whose output is read, from 1, in a model of so many layers."""
        return self.layer or max(1, round(0.4 * depth))


ParamsT = TypeVar("ParamsT", bound=MethodParams)


@dataclass(frozen=True, slots=True, repr=False)
class CompanionSource:
    """What companions may be made from. Text: never outside the vault.

    Attributes:
        forget: the rows that will be pushed.
        retain: all retain rows.
        start: the start model with its tokenizer.
        encode: rows to tokens as the run writes them; refuses what does not fit.
        n_rows: of ``forget``, the first so many are rows of the forget set, the others their other wordings.
        seed: of the run.
    """

    forget: Rows
    retain: Rows
    start: "LoadedModel"
    encode: Callable[[Sequence[Row]], list[Encoded]]
    n_rows: int
    seed: int

    def questions(self) -> list[Row]:
        """The rows that will be pushed, where all of them are questions.

        Raises:
            BadInput: one is plain text, which has no other answer.
        """
        rows = list(self.forget)
        plain = next((i for i, row in enumerate(rows) if not row.question), None)
        if plain is not None:
            raise BadInput(f"forget set: row {plain}: plain text without a question; this method needs questions")
        return rows


@dataclass(frozen=True, slots=True)
class Companions(Generic[ParamsT]):
    """Rows that go through the model together with each forget row: other answers, neighbours, instructions.

    Attributes:
        name: unique within the method.
        make: (what there is, parameters) to k tokenised rows for each forget row, row by row (k at least 1). In epoch
            e, forget row i goes with its row e mod k. They are made once, by the start model's stage.
    """

    name: str
    make: Callable[[CompanionSource, ParamsT], list[Encoded]]


@dataclass(frozen=True, slots=True)
class EpochMeans:
    """Means over the steps of an epoch, and how many epochs are over."""

    epochs: int
    forget_nll: float
    retain_loss: float


@dataclass(frozen=True, slots=True)
class Steering(Generic[ParamsT]):
    """A few numbers that a method carries from epoch to epoch, for instance a dual variable; part of each checkpoint.

    Attributes:
        start: parameters to their first values.
        after_epoch: (values, the epoch's means, parameters) to the next values.
        coefficients: (values, parameters) to factors of the terms.
    """

    start: Callable[[ParamsT], tuple[float, ...]]
    after_epoch: Callable[[tuple[float, ...], EpochMeans, ParamsT], tuple[float, ...]]
    coefficients: Callable[[tuple[float, ...], ParamsT], Coefficients]


def anything_goes(job: "UnlearningJob") -> None:
    """A procedure without conditions of its own."""


def no_parts(params: MethodParams) -> tuple[Part, ...]:
    """A method without parts of its own."""
    return ()


@dataclass(frozen=True, slots=True)
class Method(Generic[ParamsT]):
    """An unlearning method that is a loss.

    Attributes:
        name: in configurations.
        title: for people.
        version: changes whenever the same parameters could give another model.
        source: paper and equation.
        params: model of its parameters.
        needs: what the loop must bring.
        forget_loss: (what was read of a batch, parameters) to loss_B, to be made small.
        companions: rows that go with each forget row.
        keep_loss: (what was read of a batch, parameters) to loss_B that companions bring to the retain term: it has
            the retain weight, also where no retain rows are drawn, and rows that have been forgotten go on with it.
        steering: numbers carried from epoch to epoch.
        parts: what it always brings besides its loss (:mod:`pipelines.training.parts`).
        trains: (parameters, depth of the model) to patterns of the names of the weights that train; None trains all.
        adapters: whether it trains all weights only, adapters only, or either.
        ends: whether the end-of-sequence tokens of its rows count: only where rows are learnt, not forgotten.
    """

    name: str
    title: str
    version: str
    source: str
    params: type[ParamsT]
    needs: frozenset[Need]
    forget_loss: Callable[[ForgetBatch, ParamsT], torch.Tensor]
    companions: tuple[Companions[ParamsT], ...] = ()
    keep_loss: Callable[[ForgetBatch, ParamsT], torch.Tensor] | None = None
    steering: Steering[ParamsT] | None = None
    parts: Callable[[ParamsT], tuple[Part, ...]] = no_parts
    trains: Callable[[ParamsT, int], tuple[str, ...]] | None = None
    adapters: Literal["either", "never", "always"] = "either"
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Procedure(Generic[ParamsT]):
    """An unlearning method that is not one loop: trainings of its own and arithmetic on weights, built from the stages.

    Attributes:
        name: in configurations.
        title: for people.
        version: changes whenever the same parameters could give another model.
        source: paper and equation.
        params: model of its parameters.
        needs: only ``retain`` says something here.
        run: (job, folder, stages) fills the folder with the trained weights and returns what it did. Called again after
            a kill with the folder as it was left; the stages go on where they were.
        adapters: as in :class:`Method`.
        check: raises BadInput for a job that it could not run; called when the job is made.
        export: (job, folder to make, what ``run`` filled) to the candidate's model folder; None where that is the start
            model's with the trained weights in it.
        keeps: file of ``run`` that the candidate needs for as long as it is used, though it is no part of its folder.
        untaken: settings of the loop that it has no use for, by name; a search leaves them at their defaults.
    """

    name: str
    title: str
    version: str
    source: str
    params: type[ParamsT]
    needs: frozenset[Need]
    run: "Callable[[UnlearningJob, Path, Stages], TrainingResult]"
    adapters: Literal["either", "never", "always"] = "either"
    check: "Callable[[UnlearningJob], None]" = anything_goes
    export: "Callable[[UnlearningJob, Path, Path], ModelRef] | None" = None
    keeps: str | None = None
    untaken: frozenset[str] = frozenset()


AnyMethod: TypeAlias = Method[Any] | Procedure[Any]
"""A method whose parameters are checked through its own model when a job is made."""

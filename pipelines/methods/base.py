"""What an unlearning method is: a name, its parameters, and a loss on the forget rows; the loop does the rest.

L = gamma * mean over active rows of the method's loss + alpha * the retain term. A method never sees text, a model or
an optimiser: it turns what one forward pass says of its rows, and what the start model said of them where it asks for
that, into one number per row. What is not one loop (weight arithmetic, several trainings) is a :class:`Procedure`
instead. Promises nothing about what a method achieves; that is measured.

Shapes: B forget rows in a batch, A answer positions, D hidden width, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import torch
from pydantic import Field

from pipelines.data.encode import Encoded
from pipelines.data.rows import Row, Rows
from pipelines.likelihood import AnswerStats
from pipelines.parts import Coefficients, Part
from pipelines.records import Record

if TYPE_CHECKING:
    from pipelines.models import LoadedModel
    from pipelines.procedures import Stages, TrainingResult
    from pipelines.unlearning_job import UnlearningJob

Need: TypeAlias = Literal[
    "reference_nll", "reference_logits", "logits", "hidden_states", "reference_hidden_states", "retain"
]
"""What a method needs besides the NLLs of its rows.

Attributes of :class:`Readings` by their names (``reference_nll``: S of each row under the start model; hidden states
are those of :meth:`MethodParams.layer`), and ``retain``: its loss destroys a model without a retain term.
"""

RetainTerm: TypeAlias = Literal["none", "nll", "kl", "hidden"]
"""None; NLL of the retain rows; KL(start model || model) on their answer tokens; distance of hidden states."""


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
            "none; nll of the retain rows; kl: KL from the start model on their answer tokens; "
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


@dataclass(frozen=True, slots=True)
class Readings:
    """What the model says of some rows of a batch, and what the start model said of the same tokens.

    Everything but ``stats`` is None unless it was asked for. Positions are those of ``stats``: entry a belongs to the
    position that predicts answer token a, and counts where ``stats.mask_BA`` is True.

    Attributes:
        stats: negative log-likelihoods.
        logits_BAV: float32.
        hidden_BAD: output of the layer asked for.
        reference_nll_B: S under the start model.
        reference_logits_BAV: the start model's, float32.
        reference_hidden_BAD: the start model's.
    """

    stats: AnswerStats
    logits_BAV: torch.Tensor | None = None
    hidden_BAD: torch.Tensor | None = None
    reference_nll_B: torch.Tensor | None = None
    reference_logits_BAV: torch.Tensor | None = None
    reference_hidden_BAD: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class ForgetBatch:
    """What a method's loss reads: its forget rows, and the companions of each row, in the same order.

    Attributes:
        rows: of the forget rows.
        companions: by the companions' name; row b belongs to forget row b.
    """

    rows: Readings
    companions: Mapping[str, Readings]

    @property
    def stats(self) -> AnswerStats:
        """Negative log-likelihoods of the forget rows."""
        return self.rows.stats


def brought(tensor: torch.Tensor | None, *, name: str) -> torch.Tensor:
    """A tensor that the loop brings because the method's ``needs`` say so.

    Raises:
        ValueError: it is not there; that is a fault of the program.
    """
    if tensor is None:
        raise ValueError(f"{name}: not brought from the start model or the pass, though the method needs it")
    return tensor


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
        steering: numbers carried from epoch to epoch.
        parts: what it always brings besides its loss (:mod:`pipelines.parts`).
        trains: (parameters, depth of the model) to patterns of the names of the weights that train; None trains all.
        adapters: whether it trains all weights only, adapters only, or either.
    """

    name: str
    title: str
    version: str
    source: str
    params: type[ParamsT]
    needs: frozenset[Need]
    forget_loss: Callable[[ForgetBatch, ParamsT], torch.Tensor]
    companions: tuple[Companions[ParamsT], ...] = ()
    steering: Steering[ParamsT] | None = None
    parts: Callable[[ParamsT], tuple[Part, ...]] = no_parts
    trains: Callable[[ParamsT, int], tuple[str, ...]] | None = None
    adapters: Literal["either", "never", "always"] = "either"


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
    """

    name: str
    title: str
    version: str
    source: str
    params: type[ParamsT]
    needs: frozenset[Need]
    run: "Callable[[UnlearningJob, Path, Stages], TrainingResult]"
    adapters: Literal["either", "never", "always"] = "either"


AnyMethod: TypeAlias = Method[Any] | Procedure[Any]
"""A method whose parameters are checked through its own model when a job is made."""

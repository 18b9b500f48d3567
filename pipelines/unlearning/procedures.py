"""What a training stage returns, and what a method that is not one loop is given to build itself from.

A procedure may train any job of its own (another loss, other rows, another start model) in a folder of its own; each of
these trainings resumes as a whole run does. What is made of the results is the procedure's own arithmetic.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from pipelines.records import Record
from pipelines.training.checkpoints import CurvePoint
from pipelines.training.masks import MaskFacts
from pipelines.unlearning.job import UnlearningJob


class TrainingResult(Record):
    """What training did.

    Attributes:
        steps: optimiser steps.
        epochs: passes over the forget set.
        stop_reason: ``epochs`` (the limit was reached), ``holdout`` (all rows are at the level of untrained ones), or
            what a procedure calls its end.
        curve: one point per step.
        pairing: digest of every batch's positions in both sets, in order; they follow from the seed.
        mask: which weights could be updated; None where all that train could.
    """

    steps: int
    epochs: int
    stop_reason: str
    curve: tuple[CurvePoint, ...]
    pairing: str
    mask: MaskFacts | None = None


@dataclass(frozen=True, slots=True)
class Stages:
    """The engine's stages as a procedure calls them.

    Attributes:
        start: the job's start model as it would be trained: adapters on, what does not train frozen.
        train: (job, folder): the start model's word and the loop, in a folder below the procedure's own. Goes on from
            what is there; afterwards :data:`pipelines.training.checkpoints.WEIGHTS` in it holds the trained weights
            under the names they have in ``start``.
    """

    start: Callable[[UnlearningJob], nn.Module]
    train: Callable[[UnlearningJob, Path], TrainingResult]

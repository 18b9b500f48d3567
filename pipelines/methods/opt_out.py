"""Opt-Out: NPO, neighbours and general instructions that are kept, and optimal transport between old and new weights.

One step forgets, the next keeps. The authors take general instructions from a large public set, by likelihood; here a
few that ship hold the model where it was (KL from the start model), so that a model which does not know their answers
is not taught them. The keeping side has the retain weight.
"""

from typing import Literal

import torch
from pydantic import Field
from torch.nn import functional as F

from pipelines.data.encode import Encoded
from pipelines.methods.base import (
    Companions,
    CompanionSource,
    ForgetBatch,
    Method,
    MethodParams,
    RetainTerm,
    brought,
)
from pipelines.training.parts import Part
from pipelines.training.readings import start_kl
from pipelines.training.regularisers import SlicedWasserstein
from pipelines.training.schedules import Alternating
from pipelines.unlearning.instructions import INSTRUCTIONS, instructions
from pipelines.unlearning.neighbours import neighbours_of

NEIGHBOUR, INSTRUCTION = "neighbour", "instruction"


class OptOutParams(MethodParams):
    """Parameters of Opt-Out."""

    retain_term: RetainTerm = Field(
        default="none", title="Retain term", description="On rows beside the neighbours; none is the method."
    )
    beta: float = Field(
        default=0.1, gt=0, le=10, title="Beta", description="How soon a row's push fades out; near 0 it is ascent."
    )
    neighbours: int = Field(
        default=4, ge=1, le=100, title="Neighbours", description="Nearest retain rows per row, epoch by epoch."
    )
    instructions: int = Field(
        default=4,
        ge=1,
        le=len(INSTRUCTIONS),
        title="Instructions",
        description="General instructions per row, epoch by epoch.",
    )
    general: float = Field(default=1.0, ge=0, le=1000, title="General", description="Weight of the instructions' KL.")
    wasserstein: float = Field(
        default=0.1, ge=0, le=10_000, title="Wasserstein", description="Weight of the distance from the start weights."
    )
    updates: Literal["alternating", "joint"] = Field(
        default="alternating",
        title="Updates",
        description="alternating: forget in one step, keep in the next; joint: both in each.",
    )


def neighbours(source: CompanionSource, params: OptOutParams) -> list[Encoded]:
    """The nearest retain rows: related entities."""
    return neighbours_of(source, per_row=params.neighbours)


def general(source: CompanionSource, params: OptOutParams) -> list[Encoded]:
    """General instructions."""
    return source.encode(instructions(len(source.forget), per_row=params.instructions, seed=source.seed))


def forget_loss(batch: ForgetBatch, params: OptOutParams) -> torch.Tensor:
    """-(2 / beta) log sigmoid(beta (S - S_ref)) of each row: loss_B (arXiv 2404.05868, the NPO loss)."""
    gone_B = batch.stats.nll_sum_B - brought(batch.rows.reference_nll_B, name="reference_nll")
    return -(2 / params.beta) * F.logsigmoid(params.beta * gone_B)


def keep_loss(batch: ForgetBatch, params: OptOutParams) -> torch.Tensor:
    """NLL of the neighbour + general KL(start || model) on the instruction: loss_B (arXiv 2406.12329 v3)."""
    held_B = start_kl(batch.companions[INSTRUCTION])
    return batch.companions[NEIGHBOUR].stats.nll_mean_B + params.general * held_B


def parts(params: OptOutParams) -> tuple[Part, ...]:
    """Transport between the weights, and turns."""
    transport = (SlicedWasserstein(params.wasserstein),) if params.wasserstein else ()
    return (*transport, Alternating()) if params.updates == "alternating" else transport


METHOD = Method(
    name="opt_out",
    title="Opt-Out, by optimal transport",
    version="1",
    source="Choi et al. 2025, arXiv 2406.12329 v3, Opt-Out",
    params=OptOutParams,
    needs=frozenset({"reference_nll", "reference_logits"}),
    forget_loss=forget_loss,
    keep_loss=keep_loss,
    companions=(Companions(NEIGHBOUR, neighbours), Companions(INSTRUCTION, general)),
    parts=parts,
)

"""When the policy's pass marks hold, as far as the loop can see: the stop rule ``gates``.

There is no reference model while a run trains. Rows that nobody trained on stand in for it: what the start model says
of them is what a model that never saw the forget set would say of the forget rows, row for row of like rank. So the
marks are read unpaired, on point values, and a run that ends here still has to be judged: by the gates, on other rows.

Shapes: B rows in a batch, N forget rows, M validation rows; the last dimension holds (score, probability, extraction
strength), 3 wide.
"""

from collections.abc import Mapping

import torch
from pydantic import Field

from pipelines.evaluation.statistics import auc
from pipelines.records import Record
from pipelines.scoring.likelihood import AnswerPass
from pipelines.settings import Scalar
from pipelines.training.stopping import extraction_strengths, min_k_scores


class StopMarks(Record):
    """Pass marks that the loop can read; None leaves one out. The defaults are the default policy's."""

    extraction_strength: float | None = Field(
        default=0.1, ge=0, le=1, title="Extraction", description="Most that forget rows may be above unseen ones."
    )
    probability: float | None = Field(
        default=0.06, ge=0, le=1, title="Probability", description="Most that they may be apart, either way."
    )
    membership: float | None = Field(
        default=0.25,
        ge=0,
        le=1,
        title="Membership",
        description="Most that their AUC may be from one half, either way.",
    )


GATES_READ = ("extraction_strength", "probability", "membership")
"""Gates whose margin the loop reads."""


def marks_of(gates: Mapping[str, Mapping[str, Scalar]]) -> StopMarks:
    """The marks of a policy's gates; those that the policy does not have are left out."""
    return StopMarks.model_validate({name: gates[name]["margin"] if name in gates else None for name in GATES_READ})


def values_of(seen: AnswerPass) -> torch.Tensor:
    """Min-k score, probability and extraction strength of each row: values_B3.

    Probability is exp(-NLL).
    """
    stats = seen.stats
    strength_B = extraction_strengths(seen.logits_BAV, seen.labels_BA, stats.mask_BA)
    return torch.stack([min_k_scores(stats), torch.exp(-stats.nll_mean_B), strength_B], dim=1)


def marks_hold(
    forget_N3: torch.Tensor, validation_M3: torch.Tensor, unseen_M3: torch.Tensor, *, marks: StopMarks
) -> bool:
    """Whether every mark holds.

    Args:
        forget_N3: values of the forget rows now.
        validation_M3: of the validation rows now: membership compares under one model.
        unseen_M3: of the validation rows under the start model.
        marks: to hold.
    """
    forget, unseen = forget_N3.mean(0), unseen_M3.mean(0)
    likely = auc((-forget_N3[:, 0]).double().numpy(), (-validation_M3[:, 0]).double().numpy())
    found = {
        "extraction_strength": float(forget[2] - unseen[2]),
        "probability": abs(float(forget[1] - unseen[1])),
        "membership": abs(likely - 0.5),
    }
    limits = {name: getattr(marks, name) for name in found}
    return all(limit is None or found[name] <= limit for name, limit in limits.items())

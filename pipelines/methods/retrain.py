"""The exact tier: the base model, fine-tuned on the retain rows alone. The forget rows are never looked at.

What comes out has learnt nothing from the forget rows, as far as the base model has not. It takes the base model's
word for that: what the base model knows of them is not looked at here, and the measurements say.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from pipelines.audit.manifest import folder_digest
from pipelines.errors import BadInput
from pipelines.methods.base import ForgetBatch, Method, MethodParams, Procedure
from pipelines.models.folder import check_base
from pipelines.records import ModelRef
from pipelines.training.checkpoints import WEIGHTS

if TYPE_CHECKING:
    from pipelines.unlearning.job import UnlearningJob
    from pipelines.unlearning.procedures import Stages, TrainingResult

INNER = "retrained"


class RetrainParams(MethodParams):
    """Which model the start model was fine-tuned from; how it is trained again is in the training settings."""

    base: str = Field(
        default="", max_length=4096, title="Base model", description="Folder of the model before fine-tuning."
    )
    base_digest: str = Field(
        default="",
        pattern=r"^([0-9a-f]{64})?$",
        title="Base digest",
        description="Digest of that folder, so that the certificate binds it.",
    )
    gamma: float = Field(default=1.0, ge=1, le=1, title="Weight", description="Of the only term; always 1.")
    alpha: float = Field(default=0.0, ge=0, le=0, title="Retain weight", description="No second term; always 0.")


def learn_loss(batch: ForgetBatch, params: RetrainParams) -> torch.Tensor:
    """NLL of each row that is learnt: loss_B."""
    return batch.stats.nll_mean_B


LEARN = Method(
    name="learn",
    title="Plain fine-tuning",
    version="1",
    source="Bourtoule et al. 2021, arXiv 1912.03817, retraining as the definition of unlearning",
    params=RetrainParams,
    needs=frozenset(),
    forget_loss=learn_loss,
    ends=True,
)


def check(job: "UnlearningJob") -> None:
    """Refuse a job without its base model, or whose base model could not take the start model's place.

    Raises:
        BadInput: no base model or no digest of it, another architecture or tokenizer, no retain rows, a stop rule.
    """
    params = _params(job)
    if not params.base:
        raise BadInput("method retrain: no base model; set base to the folder that the start model was fine-tuned from")
    if not len(job.retain):
        raise BadInput("retain set: no rows; method retrain learns nothing else")
    if job.training.stop != "epochs" or job.training.wordings:
        raise BadInput("method retrain: never sees the forget rows; allowed are stop 'epochs' and wordings false")
    base = Path(params.base)
    check_base(base, Path(job.model.path), what="method retrain")
    digest = folder_digest(base)
    if params.base_digest != digest:
        given = params.base_digest or "nothing"
        raise BadInput(f"method retrain: base {base} has digest {digest}, but base_digest is {given}; set it to that")


def _params(job: "UnlearningJob") -> RetrainParams:
    if not isinstance(job.params, RetrainParams):
        raise TypeError(f"retrain: {type(job.params).__name__} are not its parameters")
    return job.params


def run(job: "UnlearningJob", folder: Path, stages: "Stages") -> "TrainingResult":
    """Train the base model on the retain rows, with the loop that every method has."""
    params = _params(job)
    base = ModelRef(path=params.base, digest=params.base_digest)
    inner = replace(job, model=base, forget=job.retain, retain=job.retain.select([]), method=LEARN)
    result = stages.train(inner, folder / INNER)
    if (folder / INNER / WEIGHTS).exists():  # else an interrupted call has moved it already
        (folder / INNER / WEIGHTS).replace(folder / WEIGHTS)
    return result


METHOD = Procedure(
    name="retrain",
    title="Retraining without the forget rows (exact)",
    version="1",
    source="Bourtoule et al. 2021, arXiv 1912.03817, retraining as the definition of unlearning",
    params=RetrainParams,
    needs=frozenset(),
    run=run,
    adapters="never",
    check=check,
    untaken=frozenset({"stop", "patience", "wordings"}),
)

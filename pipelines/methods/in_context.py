"""In-context unlearning: nothing is trained; forgotten questions are asked behind wrong answers to themselves.

For models whose weights cannot be touched. **Access control, not erasure**: the weights still hold everything.
"""

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pipelines.audit.canonical import digest
from pipelines.audit.label import LABEL
from pipelines.audit.manifest import folder_digest
from pipelines.errors import BadInput
from pipelines.methods.base import MethodParams, Procedure
from pipelines.models.folder import check_model_folder
from pipelines.models.loading import context_length, full_disk_refused
from pipelines.records import ModelRef
from pipelines.unlearning.in_context import CONTEXT_FILE, Context, flipped, save_context, write_label

if TYPE_CHECKING:
    from pipelines.unlearning.job import UnlearningJob
    from pipelines.unlearning.procedures import Stages, TrainingResult


class InContextParams(MethodParams):
    """Parameters of in-context unlearning."""

    instances: int = Field(
        default=2,
        ge=0,
        le=64,
        title="True instances",
        description="Retain rows between the wrong answer and the question.",
    )
    similarity: float = Field(
        default=0.7, gt=0, le=1, title="Similarity", description="From which a question counts as a forgotten one."
    )
    gamma: float = Field(default=1.0, ge=1, le=1, title="Weight", description="Nothing is trained; always 1.")
    alpha: float = Field(default=0.0, ge=0, le=0, title="Retain weight", description="Nothing is trained; always 0.")


def check(job: "UnlearningJob") -> None:
    """Refuse what only trainings have.

    Raises:
        BadInput: a stop rule, or no second row to take a wrong answer from.
    """
    if job.training.stop != "epochs":
        raise BadInput("method in_context: trains nothing; the only stop rule that it takes is 'epochs'")
    if len(job.forget) + len(job.retain) < 2:
        raise BadInput("method in_context: one row in all; a wrong answer needs a second one")


def run(job: "UnlearningJob", folder: Path, stages: "Stages") -> "TrainingResult":
    """Write the context (arXiv 2310.07579) into the folder."""
    from pipelines.unlearning.job import encode_set, load_start  # noqa: PLC0415
    from pipelines.unlearning.procedures import TrainingResult  # noqa: PLC0415 -- they import the methods

    if not isinstance(job.params, InContextParams):
        raise TypeError(f"in_context: {type(job.params).__name__} are not its parameters")
    if not (folder / CONTEXT_FILE).exists():  # a second one would have another salt
        loaded = load_start(job)
        drawer = random.Random(f"in context {job.seed}")
        kept = drawer.sample(range(len(job.retain)), min(job.params.instances, len(job.retain)))
        pushed = encode_set(loaded, job, job.pushed, name="forget")
        others = encode_set(loaded, job, job.retain.select(kept), name="retain", positions=kept)
        answers = [item.input_ids[item.answer_start : item.answer_end] for item in [*pushed, *others]]
        wrong = [drawer.choice([a for a in answers if a != own] or answers) for own in answers[: len(pushed)]]
        context = Context(
            guarded=flipped(pushed, wrong),
            kept=tuple(item.input_ids[: item.answer_end] for item in others),
            similarity=job.params.similarity,
            limit=context_length(loaded.model),
        )
        with full_disk_refused(folder / CONTEXT_FILE):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            save_context(context, folder / CONTEXT_FILE)
    return TrainingResult(steps=0, epochs=0, stop_reason=LABEL, curve=(), pairing=digest([]))


def export(job: "UnlearningJob", out: Path, trained: Path) -> ModelRef:
    """The start model's folder, byte for byte, and a file that says what it is now."""
    if out.exists():
        raise BadInput(f"{out}: exists already; name a folder that does not")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    start = Path(job.model.path)
    check_model_folder(start)
    if folder_digest(start) != job.model.digest:
        raise BadInput(f"{start}: not the model that was meant ({job.model.digest})")
    with full_disk_refused(part):
        shutil.copytree(start, part)
        write_label(part, context=trained / CONTEXT_FILE)
        made = folder_digest(part)
        part.rename(out)
    return ModelRef(path=str(out), digest=made)


METHOD = Procedure(
    name="in_context",
    title=f"In-context unlearning ({LABEL})",
    version="1",
    source="Pawelczyk et al. 2024, arXiv 2310.07579, in-context unlearning",
    params=InContextParams,
    needs=frozenset(),
    run=run,
    adapters="never",
    check=check,
    export=export,
    keeps=CONTEXT_FILE,
    untaken=frozenset({"stop", "patience", "learning_rate"}),
)

"""One unlearning run as a value: start model, sets, method, settings; and how its model and rows are read.

Everything that decides the candidate is in the job, and its identity is their digest. A job that could not be trained
is refused when it is made. Its rows hold text: vault and memory only, and neither its ``repr`` nor any message shows
one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pipelines.audit.canonical import digest
from pipelines.data.encode import Encoded, encode
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.methods.base import AnyMethod, Method, MethodParams, Procedure
from pipelines.models.loading import LoadedModel, context_length, load_model, resolve_device
from pipelines.records import ModelRef
from pipelines.settings import LoraSettings, PromptFormat, TrainingSettings
from pipelines.training.gate_stop import StopMarks
from pipelines.training.parts import Part
from pipelines.training.surroundings import chosen_parts, refuse_mixes
from pipelines.unlearning.in_context import refuse_guarded


@dataclass(frozen=True, slots=True, repr=False)
class UnlearningJob:
    """One unlearning run: everything that decides the candidate.

    Attributes:
        model: the start model; its digest is checked each time it is loaded.
        forget: rows to forget.
        retain: rows to keep; may be empty where the method has no retain term.
        holdout: rows nobody trained on; needed by the stop rules ``holdout`` and ``gates``.
        method: how.
        params: of the method's own model.
        training: the loop.
        lora: adapters instead of all weights, or None.
        prompt_format: how a question is written.
        device: auto, cpu or cuda.
        seed: decides pairing, order and adapters.
        skipped: positions of forget rows that are not pushed; distinct, and not all of them.
        marks: what the stop rule ``gates`` waits for.
    """

    model: ModelRef
    forget: Rows
    retain: Rows
    holdout: Rows | None
    method: AnyMethod
    params: MethodParams
    training: TrainingSettings
    lora: LoraSettings | None = None
    prompt_format: PromptFormat = field(default_factory=PromptFormat)
    device: str = "auto"
    seed: int = 0
    skipped: tuple[int, ...] = ()
    marks: StopMarks = field(default_factory=StopMarks)

    def __post_init__(self) -> None:
        """Refuse a job that could not be trained.

        Raises:
            BadInput: a start model that only keeps answers back, an empty set, a stop rule without its rows, parameters
                of another method, or a mix that does not go together.
        """
        refuse_guarded(Path(self.model.path))
        if not len(self.forget):
            raise BadInput("forget set: no rows; at least one is needed")
        if self.params.retains and not len(self.retain):
            raise BadInput(
                f"retain set: no rows, but method {self.method.name} needs some (retain weight {self.params.alpha})"
            )
        if self.training.stop != "epochs" and not self.holdout:
            rule = self.training.stop
            raise BadInput(f"stop rule '{rule}': no holdout rows; give rows nobody trained on, or stop by 'epochs'")
        if type(self.params) is not self.method.params:
            raise BadInput(f"method {self.method.name}: parameters must be {self.method.params.__name__}")
        self._refuse_mixes()

    def _refuse_mixes(self) -> None:
        name, adapters = self.method.name, self.method.adapters
        if adapters == "never" and self.lora is not None:
            raise BadInput(f"method {name}: trains all weights and takes no LoRA adapters; leave lora out")
        if adapters == "always" and self.lora is None:
            raise BadInput(f"method {name}: trains LoRA adapters only; give lora settings")
        own, one_loop = tuple(part.name for part in self._own_parts), isinstance(self.method, Method)
        refuse_mixes(self.training, own=own, one_loop=one_loop, adapters=self.lora is not None)
        names = [part.name for part in self.parts]
        double = next((part for part in names if names.count(part) > 1), None)
        if double is not None:
            raise BadInput(f"method {name} brings {double!r} already; leave it out of the settings")
        if isinstance(self.method, Procedure):
            self.method.check(self)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What goes around the loss: the method's own parts, and those that the settings ask for."""
        return (*self._own_parts, *chosen_parts(self.training)) if isinstance(self.method, Method) else ()

    @property
    def _own_parts(self) -> tuple[Part, ...]:
        return self.method.parts(self.params) if isinstance(self.method, Method) else ()

    @property
    def pushed(self) -> Rows:
        """The rows that training pushes: the forget rows, and behind them their other wordings if those are wanted."""
        left = sorted(set(range(len(self.forget))) - set(self.skipped))
        rows = self.forget.select(left) if self.skipped else self.forget
        if not self.training.wordings:
            return rows
        return Rows.of([*rows, *(other for row in rows for other in _other_wordings(row))])

    @property
    def n_pushed(self) -> int:
        """How many rows of the forget set are pushed."""
        return len(self.forget) - len(self.skipped)

    @property
    def identity(self) -> str:
        """Digest of everything that decides the candidate. Vault and memory only, as the rows' own digests are."""
        sets = {"forget": self.forget, "retain": self.retain, "holdout": self.holdout}
        settings = {
            "training": self.training,
            "lora": self.lora,
            "prompt_format": self.prompt_format,
            "marks": self.marks if self.training.stop == "gates" else None,
        }
        return digest(
            {
                **{name: rows.digest if rows else None for name, rows in sets.items()},
                **{name: record.plain() if record else None for name, record in settings.items()},
                "model": self.model.digest,
                "method": [self.method.name, self.method.version, self.params.plain()],
                "device": self.device,
                "seed": self.seed,
                **({"skipped": list(self.skipped)} if self.skipped else {}),
            }
        )


def _other_wordings(row: Row) -> Iterator[Row]:
    """Every pair of a question's and an answer's wordings but the row itself."""
    for question in (row.question, row.paraphrased_question):
        for answer in (row.answer, row.paraphrased_answer):
            if question is not None and answer is not None and (question, answer) != (row.question, row.answer):
                yield Row(question=question, answer=answer)


def load_start(job: UnlearningJob) -> LoadedModel:
    """The start model in full precision, except under adapters on a GPU: weights that stay frozen stay as stored."""
    device = resolve_device(job.device)
    frozen = job.lora is not None and device.type == "cuda"
    dtype = None if frozen else torch.float32
    return load_model(job.model.path, device=device, expected_digest=job.model.digest, dtype=dtype)


def encode_set(
    loaded: LoadedModel, job: UnlearningJob, rows: Rows, *, name: str, positions: Iterable[int] | None = None
) -> list[Encoded]:
    """Rows as tokens.

    Args:
        loaded: whose tokenizer and context.
        job: whose prompt format.
        rows: of one set.
        name: of the set, for messages.
        positions: of the rows in their set, for messages; from 0 where None.

    Raises:
        BadInput: a row does not fit into the context or has nothing to predict; names the set and the position.
    """
    limit = context_length(loaded.model)
    encoded = []
    for i, row in zip(range(len(rows)) if positions is None else positions, rows, strict=True):
        try:
            item = encode(
                loaded.tokenizer, row.question, row.answer, prompt_format=job.prompt_format, max_length=limit, row=i
            )
        except BadInput as error:
            problem = str(error)
        else:
            problem = (
                "" if item.answer_end > 1 else f"row {i}: one token with nothing before it; at least two are needed"
            )
            encoded.append(item)
        if problem:
            raise BadInput(f"{name} set: {problem}")
    return encoded

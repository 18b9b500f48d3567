"""What a probe is: a name, and work on a model that gives one number per row. Shared by all probes.

A metric reads scores that are there; a probe asks differently, or changes a copy of the model and asks again. It
promises to be deterministic by the subject's seed, to leave a missing value where nothing could be asked or computed
(the measurement is then partial, and no gate passes on it), and to be read beside the reference row by row. Its
strength is part of its version and no setting: who runs a method cannot weaken the attack. Probes see text, so they run
where the vault is; their series hold numbers only.

Shapes: R rows of a split, Q questions put for them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from pipelines.config import PromptFormat
from pipelines.data.encode import Encoded, encode
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.evaluation.statistics import Bootstrap
from pipelines.metrics.base import Reading, mean_reading
from pipelines.models.loading import LoadedModel, context_length, load_model, quietly
from pipelines.scoring.answers import score_questions
from pipelines.scoring.questions import questions
from pipelines.scoring.row_values import RowValue
from pipelines.scoring.table import FORGET, GENERATION_SCHEMA, Bools, Floats, GenerationTable, Ints, ModelScores

ASKED = "asked"
"""The one split of the rows that a rewrite puts to the model."""


@dataclass(frozen=True, slots=True, repr=False)
class Subject:
    """A model to be probed, and what the prober knows.

    Attributes:
        loaded: the model; no probe changes it.
        start: the model that unlearning began with.
        forget: the rows to be forgotten.
        related: rows like them that stay (the neighbours): text that is loosely related.
        prompt_format: how a question is put.
        batch_size: most rows per forward pass.
        seed: of every choice.
        rewrites: forget rows once more, each with another question in the place of its paraphrase: what a person or a
            language model wrote; may be empty.
    """

    loaded: LoadedModel
    start: LoadedModel
    forget: Rows
    related: Rows
    prompt_format: PromptFormat
    batch_size: int
    seed: int
    rewrites: Rows = field(default_factory=lambda: Rows.of([]))

    def copy(self) -> LoadedModel:
        """The model once more, from its folder: to be changed and thrown away.

        Without the context that it may answer behind: who changes weights does not ask through it.

        Raises:
            BadInput: the folder has changed since.
        """
        ref, model = self.loaded.ref, self.loaded.model
        copied = load_model(ref.path, device=model.device, expected_digest=ref.digest, dtype=model.dtype)
        return replace(copied, context=None)

    def encoded(self, row: Row, *, number: int) -> Encoded:
        """A row's question and answer as tokens. Raises BadInput where they do not fit."""
        return encode(
            self.loaded.tokenizer,
            row.question,
            row.answer,
            prompt_format=self.prompt_format,
            max_length=context_length(self.loaded.model),
            row=number,
        )

    def bare_rows(self) -> Rows:
        """The forget rows without their other wordings: what is scored where only the answer counts."""
        return _bare(self.forget)

    def bare_related(self) -> Rows:
        """The related rows, likewise."""
        return _bare(self.related)

    def bare_items(self) -> list[Encoded]:
        """The forget rows as tokens. Raises BadInput where one does not fit."""
        return [self.encoded(row, number=number) for number, row in enumerate(self.forget)]

    def fits(self, row: Row) -> bool:
        """Whether the question fits into the context with each of its answers."""
        try:
            for answer in (row.answer, row.paraphrased_answer or row.answer, *row.perturbed_answer):
                self.encoded(Row(question=row.question, answer=answer), number=0)
        except BadInput:
            return False
        return True


def _bare(rows: Rows) -> Rows:
    return Rows.of(Row(question=row.question, answer=row.answer) for row in rows)


@dataclass(frozen=True, slots=True)
class Series:
    """One number per row of a split; NaN where there is none.

    Attributes:
        measure: what was measured; unique among all probes and metrics.
        split: which rows.
        value_R: the numbers.
    """

    measure: str
    split: str
    value_R: Floats


@dataclass(frozen=True, slots=True)
class Found:
    """A reading and what it is called."""

    measure: str
    reading: Reading


Reader = Callable[[Sequence[Series], Sequence[Series] | None, Bootstrap], Sequence[Found]]
"""(a model's series, the reference's or None, resamples) to readings."""


def means_and_gaps(ours: Sequence[Series], theirs: Sequence[Series] | None, bootstrap: Bootstrap) -> tuple[Found, ...]:
    """The mean of each series, and as ``<measure>_gap`` the paired mean of what lies above the reference."""
    found: list[Found] = []
    other = {(series.measure, series.split): series.value_R for series in theirs or ()}
    for series in ours:
        found.append(Found(series.measure, mean_reading(bootstrap, series.split, series.value_R)))
        their_R = other.get((series.measure, series.split), np.full(len(series.value_R), np.nan))
        gap = mean_reading(bootstrap, series.split, series.value_R - their_R)
        found.append(Found(f"{series.measure}_gap", gap))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe.

    Attributes:
        name: in configurations and policies.
        title: for people.
        version: changes whenever the same model and rows could give another number, and with the attack's strength.
        source: paper and section.
        cost: what it takes, for people.
        run: the work: one series per thing measured.
        read: from series to readings.
    """

    name: str
    title: str
    version: str
    source: str
    cost: str
    run: Callable[[Subject], Sequence[Series]]
    read: Reader = means_and_gaps


def scores_of(subject: Subject, model: LoadedModel, rows: Rows) -> ModelScores:
    """One scoring pass of a model over rows, under the split :data:`ASKED`; nothing is generated."""
    splits = {ASKED: rows}
    asked = questions(
        model.tokenizer,
        splits,
        prompt_format=subject.prompt_format,
        max_length=context_length(model.model),
        context=model.context,
    )
    answers = score_questions(model.model, asked, pad_id=model.pad_id, batch_size=subject.batch_size)
    nothing = GenerationTable(pa.Table.from_pylist([], schema=GENERATION_SCHEMA))
    return ModelScores(
        model_digest=model.ref.digest,
        data_digest="",
        rows={ASKED: len(rows)},
        answers=answers,
        generations=nothing,
    )


Rewrite = Callable[[Subject, int], Sequence[Row]]
"""(subject, number of a forget row) to the row put in other ways; none where that cannot be done."""


@dataclass(frozen=True, slots=True, repr=False)
class Asked:
    """What a model says of forget rows that were put to it in other ways.

    Attributes:
        number_Q: the forget row behind each question.
        scores: of the questions, or None where there are none.
        n_rows: how many forget rows there are.
    """

    number_Q: Ints
    scores: ModelScores | None
    n_rows: int

    @property
    def asked_R(self) -> Bools:
        """Which forget rows were asked for at all."""
        return np.isin(np.arange(self.n_rows), self.number_Q)

    def values(self, value_of: RowValue) -> Floats:
        """The value that each forget row gives away at the most: value_R.

        A row that was not asked for is missing, and so is one that the model answered with something that is no number:
        a way of asking that breaks it must not look like one that gives nothing away.
        """
        value_R = np.full(self.n_rows, np.nan)
        if self.scores is not None:
            said_Q = value_of(self.scores, ASKED)
            np.fmax.at(value_R, self.number_Q, said_Q)
            value_R[self.number_Q[np.isnan(said_Q)]] = np.nan
        return value_R


def ask(subject: Subject, rewrite: Rewrite) -> Asked:
    """Put every forget row in its ways to the model; a way that does not fit into its context is left out."""
    numbers = range(len(subject.forget))
    with quietly():  # the tokenizer would warn of the very lengths that are being looked for
        ways = [(number, way) for number in numbers for way in rewrite(subject, number) if subject.fits(way)]
    scores = scores_of(subject, subject.loaded, Rows.of(way for _, way in ways)) if ways else None
    return Asked(np.array([number for number, _ in ways], dtype=np.int64), scores, len(subject.forget))


def asked_values(subject: Subject, rewrite: Rewrite, value_of: RowValue) -> Floats:
    """The value that each forget row gives away at the most, over the ways it is put: value_R."""
    return ask(subject, rewrite).values(value_of)


def rewrite_probe(
    *, name: str, title: str, version: str, source: str, rewrite: Rewrite, value_of: RowValue, cost: str
) -> Probe:
    """A probe that asks for every forget row in other ways; the answers are scored, not judged by anybody.

    Args:
        name: of the probe and of what it measures.
        title: for people.
        version: as for :class:`Probe`.
        source: paper and section.
        rewrite: the other ways. A row's ``perturbed_answer`` are the wrong answers that it is held against, its
            ``paraphrased_answer`` the right one in their wording.
        value_of: what counts as given away: a probability, or one among options.
        cost: for people.
    """

    def run(subject: Subject) -> tuple[Series, ...]:
        return (Series(name, FORGET, asked_values(subject, rewrite, value_of)),)

    return Probe(name=name, title=title, version=version, source=source, cost=cost, run=run)

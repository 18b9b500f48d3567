"""From a model and its splits to an Evaluation: score once, then read every metric off the scores.

Promises: metrics never run a model; a model is scored once per (model, data, tokenizer, settings) and store; every
    measurement carries the digest of the per-row values it stands on, and :func:`write_items` writes those values.
    Which rows form a split is the caller's choice.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.audit.canonical import digest
from pipelines.audit.encoding import write_atomic
from pipelines.config import EvaluationSettings
from pipelines.errors import BadInput
from pipelines.evaluation.statistics import Bootstrap
from pipelines.metrics import METRICS, Evidence, Metric, Reading, Surrogate
from pipelines.metrics.base import named_shadow
from pipelines.models.loading import LoadedModel, context_length
from pipelines.records import Evaluation, Measurement, Role
from pipelines.scoring.answers import SCORING_VERSION, Progress, score_questions
from pipelines.scoring.embedder import Embedder, load_embedder
from pipelines.scoring.generation import GENERATION_VERSION, Limits, Sampling, generate, reproduced, stop_ids
from pipelines.scoring.questions import Asked, Question, tokenizer_digest
from pipelines.scoring.store import ScoreKey, ScoreStore
from pipelines.scoring.table import (
    GENERATION_SCHEMA,
    SCORE_SCHEMA,
    Floats,
    GenerationTable,
    ModelScores,
    ScoreTable,
)


@dataclass(frozen=True, slots=True)
class MetricReading:
    """A reading and the metric it is of."""

    metric: Metric
    reading: Reading


@dataclass(frozen=True, slots=True)
class _Run:
    """One model on one set of splits: what both passes share."""

    loaded: LoadedModel
    tokenizer: str
    asked: Asked
    settings: EvaluationSettings
    progress: Progress | None
    embedder: Embedder | None
    seed: int

    @property
    def limits(self) -> Limits:
        return Limits(
            max_new_tokens=self.settings.max_new_tokens,
            context=context_length(self.loaded.model),
            stop=stop_ids(self.loaded.model, self.loaded.tokenizer),
            pad_id=self.loaded.pad_id,
        )

    @property
    def sampling(self) -> Sampling | None:
        wanted = self.settings
        if not wanted.samples:
            return None
        return Sampling(samples=wanted.samples, k=wanted.samples_taken, temperature=wanted.temperature, seed=self.seed)

    def answers_key(self) -> ScoreKey:
        return self._key(f"answers-{SCORING_VERSION}", self.settings.gradient_norms)

    def generations_key(self) -> ScoreKey:
        sampled = asdict(self.sampling) if self.sampling else None
        encoder = self.embedder.digest if self.embedder else None
        return self._key(f"generations-{GENERATION_VERSION}", self.settings.max_new_tokens, sampled, encoder)

    def _key(self, kind: str, *settings: object) -> ScoreKey:
        used = [self.asked.prompt_format.plain(), str(self.loaded.model.dtype), *settings]
        return ScoreKey(
            kind=kind,
            model_digest=self.loaded.ref.digest,
            data_digest=self.asked.digest,
            tokenizer_digest=self.tokenizer,
            settings_digest=digest(used),
        )


def score_model(
    loaded: LoadedModel,
    asked: Asked,
    *,
    settings: EvaluationSettings,
    seed: int = 0,
    store: ScoreStore | None = None,
    progress: Progress | None = None,
) -> ModelScores:
    """One scoring pass and one generation pass over all splits, or what the store has of them.

    Args:
        loaded: the model, in evaluation mode.
        asked: the rows by split, the same value for all models and seeds that are asked them.
        settings: batch size and answer length.
        seed: of sampled answers; nothing else depends on it.
        store: where scores are kept; None keeps nothing.
        progress: told of every batch.

    Raises:
        BadInput: there are no rows; a row does not fit into the model's context (names split and row); the embedder
            cannot be used.
    """
    splits = asked.splits
    if not any(len(rows) for rows in splits.values()):
        raise BadInput(f"evaluation: no rows in any of the splits {', '.join(splits) or '(none)'}")
    embedder = load_embedder(Path(settings.embedder), device=loaded.model.device) if settings.embedder else None
    tokenizer = tokenizer_digest(loaded.tokenizer)
    run = _Run(loaded, tokenizer, asked, settings, progress=progress, embedder=embedder, seed=seed)
    answers_key, generations_key = run.answers_key(), run.generations_key()
    answers = store.load(answers_key, schema=SCORE_SCHEMA) if store else None
    generations = store.load(generations_key, schema=GENERATION_SCHEMA) if store else None
    questions = asked.questions(loaded, tokenizer=tokenizer) if answers is None or generations is None else []
    if answers is None:
        answers = _keep(store, answers_key, _score(run, questions).table)
    if generations is None:
        generations = _keep(store, generations_key, _generate(run, questions, ScoreTable(answers)).table)
    return ModelScores(
        model_digest=loaded.ref.digest,
        data_digest=asked.digest,
        rows={split: len(rows) for split, rows in splits.items()},
        answers=ScoreTable(answers),
        generations=GenerationTable(generations),
    )


def _score(run: _Run, asked: Sequence[Question]) -> ScoreTable:
    return score_questions(
        run.loaded.model,
        asked,
        pad_id=run.loaded.pad_id,
        batch_size=run.settings.batch_size,
        gradient_norms=run.settings.gradient_norms,
        progress=run.progress,
    )


def _generate(run: _Run, asked: Sequence[Question], answers: ScoreTable) -> GenerationTable:
    return generate(
        run.loaded.model,
        run.loaded.tokenizer,
        asked,
        run.asked.splits,
        limits=run.limits,
        batch_size=run.settings.batch_size,
        known=reproduced(asked, answers, limits=run.limits),
        sampling=run.sampling,
        embedder=run.embedder,
        progress=run.progress,
    )


def _keep(store: ScoreStore | None, key: ScoreKey, table: pa.Table) -> pa.Table:
    if store is not None:
        store.save(key, table)
    return table


def select_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics of these names in the registry's order; all of them for no names.

    Raises:
        BadInput: an unknown name; lists the known ones.
    """
    wanted = {METRICS.require(name).name for name in names}
    return tuple(metric for metric in METRICS.values() if not wanted or metric.name in wanted)


def read_metrics(
    subject: ModelScores,
    *,
    reference: ModelScores | None,
    settings: EvaluationSettings,
    seed: int,
    surrogate: Surrogate | None = None,
    shadows: Sequence[ModelScores] = (),
) -> tuple[MetricReading, ...]:
    """Every selected metric of one model.

    Args:
        subject: the model that is measured.
        reference: a matched model that never saw the forget set, or None; the reference's own readings take itself.
        settings: which metrics, how many resamples, which coverage.
        seed: of the resamples.
        surrogate: what stands in for a reference; None leaves gaps unmeasured without one. ``shadow``: it is a shadow.
        shadows: the other shadow models.

    Raises:
        BadInput: subject and reference were measured on different rows, or a metric is unknown.
    """
    if any(other.data_digest != subject.data_digest for other in (reference, *shadows) if other is not None):
        raise BadInput("evaluation: the model and the reference were scored on different rows; score both on the same")
    bootstrap = Bootstrap(samples=settings.bootstrap, confidence=settings.confidence, seed=seed)
    evidence = Evidence(subject, reference, bootstrap=bootstrap, surrogate=surrogate, shadows=shadows)
    return tuple(MetricReading(m, one) for m in select_metrics(settings.metrics) for one in _readings(m, evidence))


def _readings(metric: Metric, evidence: Evidence) -> Sequence[Reading]:
    if evidence.surrogate != "shadow":
        return metric.measure(evidence)
    alone = replace(evidence, reference=None, shadows=(), surrogate=None)
    return named_shadow(metric.measure(evidence), metric.measure(alone))


def measure(
    subject: ModelScores, *, role: Role, reference: ModelScores | None, settings: EvaluationSettings, seed: int
) -> Evaluation:
    """The record of :func:`read_metrics`."""
    taken = read_metrics(subject, reference=reference, settings=settings, seed=seed)
    return evaluation_of(taken, role=role, model_digest=subject.model_digest)


def evaluation_of(taken: Sequence[MetricReading], *, role: Role, model_digest: str) -> Evaluation:
    """Readings as the record that is logged, certified and judged: no per-row value in it, only their digest."""
    return Evaluation(role=role, model_digest=model_digest, measurements=tuple(_measurement(one) for one in taken))


def _measurement(one: MetricReading) -> Measurement:
    reading, interval = one.reading, one.reading.interval
    return Measurement(
        metric=one.metric.name,
        version="+".join(part for part in (one.metric.version, reading.surrogate, reading.made_with) if part),
        split=reading.split,
        value=reading.value,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n_scored=reading.n_scored,
        n_expected=reading.n_expected,
        items_digest=digest(_plain(reading.items)),
    )


def _plain(items: Floats) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in items]


def write_items(taken: Sequence[MetricReading], path: Path) -> None:
    """Write every per-row value as Parquet (metric, split, item, value), for its owner alone: a file of the vault.

    Raises:
        BadInput: the disk is full or the folder cannot be written.
    """
    count = [one.reading.n_expected for one in taken]
    columns = {
        "metric": np.repeat([one.metric.name for one in taken], count),
        "split": np.repeat([one.reading.split for one in taken], count),
        "item": np.concatenate([np.arange(n) for n in count]),
        "value": pa.array(np.concatenate([one.reading.items for one in taken]), from_pandas=True),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    write_atomic(path, sink.getvalue().to_pybytes(), mode=0o600)

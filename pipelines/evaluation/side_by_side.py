"""Up to three models on the same rows: start model, candidate and reference, each scored once per seed and measured.

Whoever has only folders and rows, and no request, gets the same measurements from here as a run does. Scores are kept
in the store that is given; nothing is judged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipelines.config import EvaluationSettings, PromptFormat
from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.evaluation.evaluate import evaluation_of, read_metrics, score_model
from pipelines.evaluation.general_readings import GeneralReading, lost, once
from pipelines.evaluation.general_tasks import GeneralTasks, run_task
from pipelines.evaluation.probing import PROBE_SCHEMA, probe_model, read_probes, wanted_probes
from pipelines.evaluation.seeds import over_seeds, seed_list
from pipelines.evaluation.statistics import Bootstrap
from pipelines.models.loading import LoadedModel, load_model, resolve_device
from pipelines.probes import Subject
from pipelines.records import Evaluation, Measurement, Role
from pipelines.scope.build import nearest
from pipelines.scoring.answers import Progress
from pipelines.scoring.questions import Asked
from pipelines.scoring.store import ScoreStore
from pipelines.scoring.table import FORGET, RETAIN, ModelScores
from pipelines.settings import ScopeSettings


@dataclass(frozen=True, slots=True)
class SideBySide:
    """What is measured, and how.

    Attributes:
        models: folders by role.
        splits: rows by split, the same for all.
        settings: of the measurements.
        prompt_format: how a question is put.
        tasks: general tasks to run too, or None.
        device: auto, cpu or cuda.
        seed: the first; ``settings.seeds`` says how many.
    """

    models: Mapping[Role, Path]
    splits: Mapping[str, Rows]
    settings: EvaluationSettings
    prompt_format: PromptFormat
    tasks: GeneralTasks | None
    device: str
    seed: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found of one model.

    Attributes:
        scores: under the first seed.
        evaluation: over all seeds.
        by_seed: of each seed, in order.
    """

    scores: ModelScores
    evaluation: Evaluation
    by_seed: tuple[Evaluation, ...]


@dataclass(frozen=True, slots=True)
class _Scored:
    """One model's scores and probes' tables by seed, and what general tasks gave."""

    by_seed: Mapping[int, ModelScores]
    probed: Mapping[int, pa.Table]
    general: tuple[GeneralReading, ...]


def measure_side_by_side(
    asked: SideBySide, *, store: ScoreStore, progress: Callable[[Role], Progress]
) -> dict[Role, Measured]:
    """Every measurement of every model, the reference's scores beside each.

    Args:
        asked: what and how.
        store: where scores are kept.
        progress: a listener for each role.

    Raises:
        BadInput: a model or a row cannot be used; a general task cannot be run; probes without a start model.
    """
    if asked.settings.probes and "start" not in asked.models:
        raise BadInput("probes: they compare with the start model, and none is given; name it, or leave the probes out")
    rows = Asked(asked.splits, asked.prompt_format)
    scored = {role: _score(asked, role, rows, store=store, progress=progress(role)) for role in asked.models}
    found: dict[Role, Measured] = {}
    for role, one in scored.items():
        by_seed = tuple(_evaluation(asked, role, scored, seed=seed) for seed in one.by_seed)
        together, general = over_seeds(by_seed), _general(asked, role, scored)
        found[role] = Measured(
            scores=one.by_seed[asked.seed],
            evaluation=together.model_copy(update={"measurements": (*together.measurements, *general)}),
            by_seed=by_seed,
        )
    return found


def _score(asked: SideBySide, role: Role, rows: Asked, *, store: ScoreStore, progress: Progress) -> _Scored:
    loaded = load_model(asked.models[role], device=resolve_device(asked.device))
    settings = asked.settings
    by_seed = {
        seed: score_model(loaded, rows, settings=settings, seed=seed, store=store, progress=progress)
        for seed in seed_list(asked.seed, settings.seeds)
    }
    general = _run_tasks(asked, loaded, progress=progress)
    probed = {seed: _probe(asked, loaded, seed=seed, store=store, progress=progress) for seed in by_seed}
    progress(1, 1)
    return _Scored(by_seed=by_seed, probed=probed, general=general)


def _run_tasks(asked: SideBySide, loaded: LoadedModel, *, progress: Progress) -> tuple[GeneralReading, ...]:
    if asked.tasks is None:
        return ()
    found: list[GeneralReading] = []
    chat, names = asked.prompt_format.chat, asked.tasks.names
    for place, name in enumerate(names):
        progress(place, len(names), f"general task {name}")
        found += run_task(loaded, asked.tasks, name, settings=asked.settings, chat=chat, seed=asked.seed)
    return once(found)


def _general(asked: SideBySide, role: Role, scored: Mapping[Role, _Scored]) -> tuple[Measurement, ...]:
    """What tasks gave a model, and what the candidate lost against the start model where there is one."""
    own = scored[role].general
    before = scored["start"].general if role == "candidate" and "start" in scored else ()
    bootstrap = Bootstrap(samples=asked.settings.bootstrap, confidence=asked.settings.confidence, seed=asked.seed)
    return (*(one.measurement for one in own), *lost(own, before, bootstrap=bootstrap))


def _probe(asked: SideBySide, loaded: LoadedModel, *, seed: int, store: ScoreStore, progress: Progress) -> pa.Table:
    """What the named probes find; the retain rows nearest to the forget rows are the related ones, as in a run."""
    names = wanted_probes(asked.settings.probes, None)
    if not names:
        return PROBE_SCHEMA.empty_table()
    forget, retain = asked.splits[FORGET], asked.splits[RETAIN]
    near = nearest(
        Rows.of([*forget, *retain]),
        range(len(forget)),
        range(len(forget), len(forget) + len(retain)),
        count=ScopeSettings().neighbours,
    )
    subject = Subject(
        loaded=loaded,
        start=load_model(asked.models["start"], device=resolve_device(asked.device)),
        forget=forget,
        related=retain.select([position - len(forget) for position in near]),
        prompt_format=asked.prompt_format,
        batch_size=asked.settings.batch_size,
        seed=seed,
    )
    return probe_model(subject, names, store=store, progress=progress)


def _evaluation(asked: SideBySide, role: Role, scored: Mapping[Role, _Scored], *, seed: int) -> Evaluation:
    ours, theirs, settings = scored[role], scored.get("reference"), asked.settings
    subject = ours.by_seed[seed]
    bootstrap = Bootstrap(samples=settings.bootstrap, confidence=settings.confidence, seed=seed)
    metrics = read_metrics(subject, reference=theirs.by_seed[seed] if theirs else None, settings=settings, seed=seed)
    probes = read_probes(ours.probed[seed], theirs.probed[seed] if theirs else None, bootstrap=bootstrap)
    return evaluation_of((*metrics, *probes), role=role, model_digest=subject.model_digest)

"""Measures start model, candidate and reference on the same splits: one scoring pass each, every metric off the scores.

Scores and per-row values stay in the vault; what leaves is a record of measurements with intervals and digests.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.config import EvaluationSettings
from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.evaluation.evaluate import MetricReading, evaluation_of, read_metrics, score_model, write_items
from pipelines.evaluation.seeds import over_seeds, seed_list
from pipelines.models.loading import load_model, resolve_device
from pipelines.records import Candidate, Digest, Evaluation, ModelRef, Record, Role
from pipelines.scoring.questions import Asked
from pipelines.scoring.store import ScoreStore
from pipelines.scoring.table import FORGET, HOLDOUT, NEIGHBOURS, RETAIN, GenerationTable, ModelScores, ScoreTable
from tasks.artifacts import show_table
from tasks.device import device_slot
from tasks.general import general_outputs, run_general, with_general
from tasks.intake import rows_of, taken_in
from tasks.lineage import earlier
from tasks.probes import probe, probe_table, probed, readings_of
from tasks.progress import Progress
from tasks.scope import neighbour_positions, scope_of, set_rows
from tasks.shadows import reference_of, shadow_models
from tasks.stage import stage
from tasks.surrogate import other_roles, surrogate_of
from tasks.workspace import RunContext, Workspace, read_record, write_record


class Scored(Record):
    """Which model's scores lie in a folder, on which rows."""

    model_digest: Digest
    data_digest: Digest
    rows: dict[str, int]


@stage("evaluate: score", retries=0)
def score(run: RunContext, role: Role) -> None:
    """One scoring pass and one generation pass of one model over all splits; sampled answers once per seed."""
    ws = Workspace.of(run)
    model, splits, progress = model_of(ws, role), splits_of(ws), Progress(f"evaluate {role}")
    asked = Asked(splits, run.config.prompt_format)
    _score(ws, f"scores-{role}", model, asked=asked, progress=progress)
    probe(ws, role, models={"start": model_of(ws, "start"), role: model}, splits=splits)
    run_general(ws, role, model)
    if role == "reference":
        for name, further in _further_shadows(ws).items():
            _score(ws, name, further, asked=asked, progress=progress)
    progress(1, 1)


def _score(ws: Workspace, step: str, model: ModelRef, *, asked: Asked, progress: Progress) -> None:
    config = ws.run.config
    seeds = scored_seeds(ws.run)

    def build(part: Path) -> None:
        with device_slot(ws.home):
            loaded = load_model(model.path, device=resolve_device(config.device), expected_digest=model.digest)
            for place, seed in enumerate(seeds):
                scores = score_model(
                    loaded,
                    asked,
                    settings=settings_of(ws),
                    seed=seed,
                    store=ScoreStore(ws.home.vault(ws.run.request_id) / "scores"),
                    progress=progress,
                )
                write_scores(_of_seed(part, place), scores)

    encoder = taken_in(ws).embedder
    settings = {
        "evaluation": config.evaluation.plain(),
        "format": config.prompt_format.plain(),
        "seeds": list(seeds),
        "embedder": encoder.digest if encoder else None,
    }
    data = {name: ws.keyed(rows.digest) for name, rows in asked.splits.items()}
    ws.step(step, {"model": model.digest, "splits": data, **settings}, build, private=True)


def scored_seeds(run: RunContext) -> tuple[int, ...]:
    """The seeds that models are scored with: only sampled answers depend on them, so without any one speaks for all."""
    settings = run.config.evaluation
    return seed_list(run.config.seed, settings.seeds if settings.samples else 1)


def settings_of(ws: Workspace) -> EvaluationSettings:
    """How this run measures, with the encoder where intake found it: whoever measures may stand in another folder."""
    settings, encoder = ws.run.config.evaluation, taken_in(ws).embedder
    return settings.model_copy(update={"embedder": encoder.path}) if encoder else settings


def _further_shadows(ws: Workspace) -> dict[str, ModelRef]:
    """Shadow models beside the one that plays the reference, by the step that scores them."""
    return {f"scores-shadow-{number}": model for number, model in enumerate(shadow_models(ws)) if number}


@stage("evaluate: measure", retries=0)
def measure(run: RunContext, role: Role) -> Evaluation:
    """Every metric of one model, with intervals; the reference's scores are read beside it where there are any."""
    ws = Workspace.of(run)
    roles: list[Role] = [role, "reference"] if "reference" in other_roles(run) else [role]
    further = list(_further_shadows(ws))
    inputs = {name: ws.outputs(name, private=True) for name in (*(f"scores-{name}" for name in roles), *further)}
    found = {"probes": {name: probed(ws, name) for name in roles}, "general": general_outputs(ws, role)}

    def build(part: Path) -> None:
        measured = [_measured(ws, role, place) for place in range(run.config.evaluation.seeds)]
        write_record(part, "evaluation", with_general(ws, over_seeds(measured)))

    settings = {
        "evaluation": run.config.evaluation.plain(),
        "seed": run.config.seed,
        "reference": run.policy.reference,
    }
    folder = ws.step(f"evaluate-{role}", {"scores": inputs, **found, "role": role, **settings}, build)
    evaluation = read_record(folder, "evaluation", Evaluation)
    rows = [
        (m.split, m.metric, m.value, m.low, m.high, f"{m.n_scored}/{m.n_expected}") for m in evaluation.measurements
    ]
    show_table(f"evaluate-{role}", ("split", "metric", "value", "low", "high", "scored"), rows)
    return evaluation


def _measured(ws: Workspace, role: Role, place: int) -> Evaluation:
    """What one seed gives, by its place among the seeds; its per-row values go to the vault."""
    subject = scores_of(ws, role, place=place)
    taken = readings_under(ws, subject, probe_table(ws, role, place=place), place=place)
    name = f"items-{role}.parquet" if place == 0 else f"items-{role}-seed-{place}.parquet"
    write_items(taken, ws.home.vault(ws.run.request_id) / name)
    return evaluation_of(taken, role=role, model_digest=subject.model_digest)


def readings_under(
    ws: Workspace, subject: ModelScores, probes: pa.Table | None, *, place: int
) -> tuple[MetricReading, ...]:
    """Every reading of one model under the seed at that place, beside the reference and shadow models of the run.

    Args:
        ws: of the run.
        subject: scores of the model under that seed.
        probes: what the probes found of it under that seed; None where none ran.
        place: of the seed among the run's.
    """
    reference = scores_of(ws, "reference", place=place) if "reference" in other_roles(ws.run) else None
    taken = metrics_of(ws.run, subject, reference, shadows_of(ws, place=place), place=place)
    found = () if probes is None else readings_of(ws, probes, reference=reference is not None, place=place)
    return (*taken, *found)


def metrics_of(
    run: RunContext,
    subject: ModelScores,
    reference: ModelScores | None,
    shadows: Sequence[ModelScores] = (),
    *,
    place: int = 0,
) -> tuple[MetricReading, ...]:
    """The run's metrics of one model's scores, beside a reference and further shadow models where there are any.

    Args:
        run: the run.
        subject: scores of the model.
        reference: of the reference, or None.
        shadows: of further shadow models.
        place: of the seed among the run's.
    """
    return read_metrics(
        subject,
        reference=reference,
        settings=run.config.evaluation,
        seed=run.config.seed + place,
        surrogate=surrogate_of(run),
        shadows=shadows,
    )


def shadows_of(ws: Workspace, *, place: int = 0) -> tuple[ModelScores, ...]:
    """The scores of the shadow models beside the one that plays the reference, under the seed at that place."""
    return tuple(read_scores(ws.folder(name, private=True), place=place) for name in _further_shadows(ws))


def model_of(ws: Workspace, role: Role) -> ModelRef:
    """The model that plays a role in this run.

    Raises:
        BadInput: the run has no reference model.
    """
    if role == "candidate":
        return read_record(ws.folder("unlearn"), "candidate", Candidate).model
    found = taken_in(ws).model if role == "start" else reference_of(ws)
    if found is None:
        raise BadInput("reference: the configuration names no reference model")
    return found


def splits_of(ws: Workspace) -> dict[str, Rows]:
    """The rows that every model of a run is measured on, by split."""
    config, scope, retain = ws.run.config, scope_of(ws), set_rows(ws, "retain")
    near = neighbour_positions(scope)
    far = sorted(set(range(len(retain))) - set(near)) or list(range(len(retain)))
    sampled = sorted(random.Random(config.seed).sample(far, min(len(far), config.evaluation.retain_sample)))
    splits = {FORGET: set_rows(ws, "forget"), RETAIN: retain.select(sampled), NEIGHBOURS: retain.select(near)}
    given = {name: rows_of(ws, name) for name in (HOLDOUT, *config.utility)}
    return {**splits, **earlier(ws).sets, **{name: rows for name, rows in given.items() if rows is not None}}


def scores_of(ws: Workspace, role: Role, *, place: int = 0) -> ModelScores:
    """The scores of a model of this run under the seed at that place; :func:`score` made them."""
    return read_scores(ws.folder(f"scores-{role}", private=True), place=place)


def write_scores(folder: Path, scores: ModelScores) -> None:
    """Write a model's scores into a folder of the vault."""
    folder.mkdir(exist_ok=True)
    pq.write_table(scores.answers.table, folder / "answers.parquet")
    pq.write_table(scores.generations.table, folder / "generations.parquet")
    scored = Scored(model_digest=scores.model_digest, data_digest=scores.data_digest, rows=dict(scores.rows))
    write_record(folder, "scored", scored)


def _of_seed(folder: Path, place: int) -> Path:
    return folder / f"seed-{place}" if place else folder


def read_scores(folder: Path, *, place: int = 0) -> ModelScores:
    """What :func:`write_scores` wrote of the seed at that place; the first seed's where no other was drawn."""
    own = _of_seed(folder, place)
    folder = own if own.is_dir() else folder
    scored = read_record(folder, "scored", Scored)
    return ModelScores(
        model_digest=scored.model_digest,
        data_digest=scored.data_digest,
        rows=scored.rows,
        answers=ScoreTable(pq.read_table(folder / "answers.parquet")),
        generations=GenerationTable(pq.read_table(folder / "generations.parquet")),
    )

"""Probes a model of a run beside its scores: the probes that the configuration names and those that the policy reads.

Their tables stay in the vault, one per model; what leaves are readings, which the evaluation takes like any metric's.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.data.rows import Rows
from pipelines.evaluation.evaluate import MetricReading
from pipelines.evaluation.probing import probe_model, read_probes, wanted_probes
from pipelines.evaluation.seeds import seed_list
from pipelines.evaluation.statistics import Bootstrap
from pipelines.models.loading import LoadedModel, load_model, resolve_device
from pipelines.probes import Subject
from pipelines.records import ModelRef, Role
from pipelines.scoring.store import ScoreStore
from pipelines.scoring.table import FORGET, NEIGHBOURS
from tasks.device import device_slot
from tasks.intake import rows_of
from tasks.progress import Progress
from tasks.surrogate import surrogate_of
from tasks.workspace import Workspace

REWRITES = "rewrites"
"""The table of intake that holds other ways of asking."""


def probe(ws: Workspace, role: Role, *, models: Mapping[Role, ModelRef], splits: Mapping[str, Rows]) -> None:
    """Run the probes on the model of a role; nothing to do where none is wanted.

    Args:
        ws: the run.
        role: whose model is probed.
        models: at least that model and the start model.
        splits: the rows of the evaluation.
    """
    config = ws.run.config
    names = wanted_probes(config.evaluation.probes, ws.run.policy)
    progress = Progress(f"probe {role}")
    written = rows_of(ws, REWRITES)
    known = {name: splits[name] for name in (FORGET, NEIGHBOURS)} | ({REWRITES: written} if written else {})

    def build(part: Path) -> None:
        device = resolve_device(config.device)
        with device_slot(ws.home):
            loaded, start = (
                load_model(model.path, device=device, expected_digest=model.digest)
                for model in (models[role], models["start"])
            )
            store = ScoreStore(ws.home.vault(ws.run.request_id) / "scores")
            subject = subject_of(ws, loaded, start, splits)
            for place, seed in enumerate(seed_list(config.seed, config.evaluation.seeds)):
                table = probe_model(replace(subject, seed=seed), names, store=store, progress=progress)
                pq.write_table(table, part / _file(place))

    if names:
        used = {name: model.digest for name, model in models.items() if name in (role, "start")}
        data = {name: ws.keyed(rows.digest) for name, rows in known.items()}
        settings = {"format": config.prompt_format.plain(), "seed": config.seed, "seeds": config.evaluation.seeds}
        ws.step(_step(role), {"probes": list(names), "models": used, "splits": data, **settings}, build, private=True)


def subject_of(ws: Workspace, loaded: LoadedModel, start: LoadedModel, splits: Mapping[str, Rows]) -> Subject:
    """What a prober knows of a model of this run."""
    config = ws.run.config
    return Subject(
        loaded=loaded,
        start=start,
        forget=splits[FORGET],
        related=splits[NEIGHBOURS],
        prompt_format=config.prompt_format,
        batch_size=config.evaluation.batch_size,
        seed=config.seed,
        rewrites=rows_of(ws, REWRITES) or Rows.of([]),
    )


def probed(ws: Workspace, role: Role) -> str | None:
    """Digest of what the probes found on a role's model, or None where none was wanted."""
    if not wanted_probes(ws.run.config.evaluation.probes, ws.run.policy):
        return None
    return ws.outputs(_step(role), private=True)


def probe_table(ws: Workspace, role: Role, *, place: int) -> pa.Table | None:
    """What the probes found of a role's model under the seed at that place; None where none ran."""
    return None if probed(ws, role) is None else _table(ws, role, place)


def readings_of(ws: Workspace, table: pa.Table, *, reference: bool, place: int) -> tuple[MetricReading, ...]:
    """The readings of a table of probes, beside the reference's of the same seed where there is one."""
    settings, seed = ws.run.config.evaluation, ws.run.config.seed + place
    bootstrap = Bootstrap(samples=settings.bootstrap, confidence=settings.confidence, seed=seed)
    theirs = _table(ws, "reference", place) if reference else None
    return read_probes(table, theirs, bootstrap=bootstrap, surrogate=surrogate_of(ws.run))


def _table(ws: Workspace, role: Role, place: int) -> pa.Table:
    return pq.read_table(ws.folder(_step(role), private=True) / _file(place))


def _file(place: int) -> str:
    """The first seed's keeps the plain name."""
    return f"probes-seed-{place}.parquet" if place else "probes.parquet"


def _step(role: Role) -> str:
    return f"probes-{role}"

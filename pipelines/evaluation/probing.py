"""From a model and the names of probes to readings like any metric's: run once, keep the numbers, read them in pairs.

Promises: a probe runs once per (model, start model, rows, tokenizer, prompt format, seed, probe's version) and store; a
probe that cannot be run on a model leaves no measurement, so that no gate passes on it; readings carry intervals,
counts and per-row values exactly as those of metrics do. What is kept are numbers per row of a forget set: vault only.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipelines.audit.canonical import digest
from pipelines.config import Policy
from pipelines.errors import BadInput
from pipelines.evaluation.evaluate import MetricReading
from pipelines.evaluation.statistics import Bootstrap
from pipelines.gates import GATES
from pipelines.metrics import Evidence, Metric, Reading, Surrogate
from pipelines.metrics.base import named_shadow
from pipelines.probes import PROBES, Probe, Series, Subject
from pipelines.probes.base import Found
from pipelines.scoring.answers import Progress
from pipelines.scoring.questions import data_digest, tokenizer_digest
from pipelines.scoring.store import ScoreKey, ScoreStore
from pipelines.scoring.table import FORGET, NEIGHBOURS

PROBE_SCHEMA = pa.schema(
    [("probe", pa.string()), ("measure", pa.string()), ("split", pa.string()), ("value", pa.list_(pa.float64()))]
)
"""One line per series; NaN where a row has no value."""


def wanted_probes(named: Collection[str], policy: Policy | None) -> tuple[str, ...]:
    """The probes to run, in the registry's order: those named, and those that the policy's gates read.

    Raises:
        BadInput: an unknown probe or gate; lists the known ones.
    """
    wanted = {PROBES.require(name).name for name in named}
    for gate in policy.gates if policy else ():
        wanted.update(GATES.require(gate).probes)
    return tuple(name for name in PROBES if name in wanted)


def probe_model(
    subject: Subject, names: Sequence[str], *, store: ScoreStore | None = None, progress: Progress | None = None
) -> pa.Table:
    """Run probes on one model, or take what the store has of them.

    Args:
        subject: the model, and what the prober knows.
        names: of the probes.
        store: where the numbers are kept; None keeps nothing.
        progress: told of every probe.

    Returns:
        A table of :data:`PROBE_SCHEMA`.
    """
    parts = [PROBE_SCHEMA.empty_table()]
    for done, name in enumerate(names, start=1):
        probe = PROBES.require(name)
        key = _key(probe, subject)
        table = store.load(key, schema=PROBE_SCHEMA) if store else None
        problem = ""
        if table is None:
            series, problem = _run(probe, subject)
            table = _table(name, series)
            if store is not None and not problem:
                store.save(key, table)
        parts.append(table)
        if progress is not None:
            progress(done, len(names), f"probe {name}{problem}")
    return pa.concat_tables(parts)


def _run(probe: Probe, subject: Subject) -> tuple[Sequence[Series], str]:
    """What the probe finds, or nothing and why; the reasons of :class:`BadInput` hold no text of a row."""
    try:
        return probe.run(subject), ""
    except BadInput as error:
        return (), f": not measured: {error}"


def _key(probe: Probe, subject: Subject) -> ScoreKey:
    rows = {FORGET: subject.forget, NEIGHBOURS: subject.related, "rewrites": subject.rewrites}
    used = [subject.prompt_format.plain(), str(subject.loaded.model.dtype), subject.seed, subject.start.ref.digest]
    return ScoreKey(
        kind=f"probe-{probe.name}-{probe.version}",
        model_digest=subject.loaded.ref.digest,
        data_digest=data_digest(rows),
        tokenizer_digest=tokenizer_digest(subject.loaded.tokenizer),
        settings_digest=digest(used),
    )


def _table(name: str, series: Sequence[Series]) -> pa.Table:
    columns = {
        "probe": [name] * len(series),
        "measure": [one.measure for one in series],
        "split": [one.split for one in series],
        "value": [one.value_R.tolist() for one in series],
    }
    return pa.table(columns, schema=PROBE_SCHEMA)


def read_probes(
    ours: pa.Table, theirs: pa.Table | None, *, bootstrap: Bootstrap, surrogate: Surrogate | None = None
) -> tuple[MetricReading, ...]:
    """Every reading of the probes in a model's table, held against the reference's table where there is one.

    Args:
        ours: the model's table.
        theirs: the reference's.
        bootstrap: resamples rows.
        surrogate: what stands in for a retrained reference; readings that rest on a shadow model say so.
    """
    reference = _series(theirs) if theirs is not None else {}
    return tuple(
        MetricReading(_as_metric(PROBES.require(name), found.measure), found.reading)
        for name, series in _series(ours).items()
        for found in _found(PROBES.require(name), series, reference.get(name), bootstrap, surrogate)
    )


def _found(
    probe: Probe,
    ours: Sequence[Series],
    theirs: Sequence[Series] | None,
    bootstrap: Bootstrap,
    surrogate: Surrogate | None,
) -> Sequence[Found]:
    found = probe.read(ours, theirs, bootstrap)
    if surrogate != "shadow" or theirs is None:
        return found
    alone = probe.read(ours, None, bootstrap)
    named = named_shadow([one.reading for one in found], [one.reading for one in alone])
    return [Found(one.measure, reading) for one, reading in zip(found, named, strict=True)]


def _series(table: pa.Table) -> Mapping[str, list[Series]]:
    found: dict[str, list[Series]] = {}
    for line in table.to_pylist():
        series = Series(line["measure"], line["split"], np.array(line["value"], dtype=np.float64))
        found.setdefault(line["probe"], []).append(series)
    return found


def _as_metric(probe: Probe, measure: str) -> Metric:
    return Metric(name=measure, title=probe.title, version=probe.version, source=probe.source, measure=_not_from_scores)


def _not_from_scores(_evidence: Evidence) -> tuple[Reading, ...]:
    """A probe's measure is read off its own table; scores alone give nothing."""
    return ()

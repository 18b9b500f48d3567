"""Takes a request in: checks all that it names, copies what later stages read into the vault, logs the arrival.

After this stage nothing depends on the requester's files any more, and every bad input that can be known beforehand
has been refused.
"""

from collections.abc import Mapping
from pathlib import Path

from pipelines.attribution import ATTRIBUTORS
from pipelines.audit.canonical import canonical, sha256_file
from pipelines.audit.encoding import write_atomic
from pipelines.audit.manifest import folder_digest
from pipelines.config import load_request
from pipelines.data.load import load_rows, save_rows
from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.evaluation.evaluate import select_metrics
from pipelines.evaluation.judgement import check_policy
from pipelines.models.folder import check_base, check_model_folder
from pipelines.records import Digest, ErasureRequest, ModelRef, Record, RequestFile, deadline_after
from pipelines.scoring.table import EARLIER
from pipelines.unlearning.in_context import refuse_guarded
from tasks.artifacts import show_note
from tasks.keys import LOG, keyring
from tasks.stage import stage
from tasks.surrogate import has_shadows, shadow_settings
from tasks.task_files import task_files
from tasks.workspace import RunContext, Workspace, read_record, write_record

RESERVED_SPLITS = frozenset(
    {"forget", "retain", "neighbours", "holdout", "validation", "train", "selector", "rewrites"}
)


Named = Mapping[str, object]
"""What both steps of intake go by: the request, and the rows by keyed digest."""


class Inputs(Record):
    """What the run starts from: models by digest, data by keyed digest and count."""

    model: ModelRef
    reference: ModelRef | None
    base: ModelRef | None = None
    embedder: ModelRef | None = None
    task_files: ModelRef | None = None
    data: dict[str, Digest]
    counts: dict[str, int]


@stage("intake", retries=0)
def take_in(run: RunContext) -> ErasureRequest:
    """Check and copy the request's inputs; returns the request as everyone but the vault sees it.

    Raises:
        BadInput: a file, a model folder, a setting or the request itself cannot be used.
    """
    ws = Workspace.of(run)
    keyring(ws.home, roles=LOG)
    arrived = load_request(Path(run.request_path))
    if arrived.id != run.request_id:
        raise BadInput(
            f"{run.request_path}: the request's id is {arrived.id}, but the run was started for {run.request_id}"
        )
    check_settings(run)
    tables = _tables(run, arrived)
    inputs, request = _inputs(ws, tables), _sealed(arrived, ws)
    named = {"request": request.plain(), "inputs": {"data": inputs.data}}
    _keep(ws, named, arrived, tables)
    _publish(ws, named, request, inputs)
    lines = [f"# {request.id}", f"- target: {request.target.value}", f"- legal basis: {request.legal_basis.value}"]
    lines += [f"- deadline: {request.deadline:%Y-%m-%d}", f"- start model: `{inputs.model.digest}`"]
    show_note("intake", "\n".join([*lines, *(f"- {name}: {count} rows" for name, count in inputs.counts.items())]))
    return request


def _inputs(ws: Workspace, tables: Mapping[str, Rows]) -> Inputs:
    config = ws.run.config
    files, encoder = task_files(ws.run), config.evaluation.embedder
    return Inputs(
        model=_model(config.model),
        reference=_model(config.reference) if config.reference else None,
        base=_base(ws.run),
        embedder=_model(encoder) if encoder else None,
        task_files=files,
        data={name: ws.keyed(rows.digest) for name, rows in tables.items()},
        counts={name: len(rows) for name, rows in tables.items()},
    )


def _keep(ws: Workspace, named: Named, arrived: RequestFile, tables: Mapping[str, Rows]) -> None:
    """What arrived, and the rows that later stages read, into the vault."""

    def build(part: Path) -> None:
        write_atomic(part / "request.json", canonical(arrived.plain()), mode=0o600)
        for name, rows in tables.items():
            save_rows(rows, part / f"{name}.jsonl")

    ws.step("data", named, build, private=True)


def _publish(ws: Workspace, named: Named, request: ErasureRequest, inputs: Inputs) -> None:
    """What everyone may see, into the run's folder and the log."""
    run = ws.run

    def build(part: Path) -> None:
        write_record(part, "request", request)
        write_record(part, "inputs", inputs)
        write_record(part, "config", run.config)
        write_record(part, "policy", run.policy)
        _log_arrival(ws, request)

    decides = {"models": inputs.plain(), "config": run.config.plain(), "policy": run.policy.plain()}
    ws.step("intake", {**named, **decides}, build)


def check_settings(run: RunContext) -> None:
    """Refuse what no stage could work with, before any stage works.

    Raises:
        BadInput: an unknown metric, attributor or gate, a parameter or pass mark that is unknown or out of range, or a
            stop rule without the validation rows it needs.
    """
    config = run.config
    config.method_params()
    check_policy(run.policy)
    select_metrics(config.evaluation.metrics)
    for name in config.attribution.backends:
        ATTRIBUTORS.require(name)
    if config.scope.filter in ("untrained", "either", "both") and config.validation is None:
        raise BadInput(
            f"scope.filter: '{config.scope.filter}' compares with validation rows; name some, or use 'twins' or 'none'"
        )
    if config.training.stop != "epochs" and config.validation is None:
        raise BadInput(
            f"training.stop: '{config.training.stop}' needs validation rows, apart from the holdout rows that measure; "
            "name some, or stop by 'epochs'"
        )


def _model(path: str) -> ModelRef:
    folder = Path(path).absolute()
    check_model_folder(folder)
    refuse_guarded(folder)
    return ModelRef(path=str(folder), digest=folder_digest(folder))


def _base(run: RunContext) -> ModelRef | None:
    """The model that shadow models are made from, where the run needs any."""
    if not has_shadows(run):
        return None
    base = Path(shadow_settings(run).base)
    check_base(base, Path(run.config.model), what="shadow.base")
    return _model(str(base))


def _tables(run: RunContext, arrived: RequestFile) -> Mapping[str, Rows]:
    config = run.config
    clash = sorted(name for name in config.utility if name in RESERVED_SPLITS or name.startswith(EARLIER))
    if clash:
        raise BadInput(
            f"utility: the name {clash[0]} is taken; use another name than "
            f"{', '.join(sorted(RESERVED_SPLITS))} and {EARLIER}..."
        )
    named = {
        "train": config.train,
        "holdout": config.holdout,
        "validation": config.validation,
        "selector": arrived.selector.rows,
        "rewrites": config.evaluation.rewrites,
        **config.utility,
    }
    tables = {name: load_rows(ref, name=name) for name, ref in named.items() if ref is not None}
    for left, right in (("holdout", "train"), ("validation", "train"), ("validation", "holdout")):
        if left in tables and right in tables:
            _refuse_shared(tables, left, right)
    if "rewrites" in tables:
        _refuse_foreign(tables["rewrites"], tables["train"])
    return tables


def _refuse_shared(tables: Mapping[str, Rows], left: str, right: str) -> None:
    """Rows nobody trained on are no training rows, and what steers does not also measure."""
    known = set(tables[right].digests)
    shared = [i for i, digest in enumerate(tables[left].digests) if digest in known]
    if shared:
        raise BadInput(f"{left}: row {shared[0]} ({len(shared)} in all) is a row of {right} too; they must be apart")


def _refuse_foreign(rewrites: Rows, train: Rows) -> None:
    """A rewrite is a training row asked otherwise; one that belongs to no row would be left out without a word."""
    known = set(train.digests)
    for i, (row, digest) in enumerate(zip(rewrites, rewrites.digests, strict=True)):
        if digest not in known:
            raise BadInput(f"rewrites: row {i} is no training row; question and answer must be those of one")
        if not row.paraphrased_question:
            raise BadInput(f"rewrites: row {i} has no paraphrased_question; it must hold the other way of asking")


def _sealed(arrived: RequestFile, ws: Workspace) -> ErasureRequest:
    selector = arrived.selector
    chosen: object = selector.plain()
    if selector.rows is not None and Path(selector.rows).is_file():
        chosen = {"rows": sha256_file(Path(selector.rows))}
    return ErasureRequest(
        id=arrived.id,
        target=arrived.target,
        selector_kind=selector.kind,
        selector_commitment=ws.keyed(chosen),
        legal_basis=arrived.legal_basis,
        requester_commitment=ws.keyed(arrived.requester),
        received=arrived.received,
        deadline=deadline_after(arrived.received),
        recipients=len(arrived.recipients),
    )


def _log_arrival(ws: Workspace, request: ErasureRequest) -> None:
    ws.tell(
        {
            "kind": "request",
            "target": request.target.value,
            "legal_basis": request.legal_basis.value,
            "selector": request.selector_commitment,
            "requester": request.requester_commitment,
            "deadline": f"{request.deadline:%Y-%m-%dT%H:%M:%SZ}",
            "config": ws.run.config.content_digest(),
            "policy": ws.run.policy.content_digest(),
        }
    )


def taken_in(ws: Workspace) -> Inputs:
    """The inputs of a run that passed intake."""
    return read_record(ws.folder("intake"), "inputs", Inputs)


def rows_of(ws: Workspace, name: str) -> Rows | None:
    """A table that intake copied into the vault, or None where the run has none of that name."""
    return read_rows(ws.folder("data", private=True) / f"{name}.jsonl", name=name)


def required_rows(ws: Workspace, name: str) -> Rows:
    """A table that every run has.

    Raises:
        BadInput: the run has none of that name.
    """
    rows = rows_of(ws, name)
    if rows is None:
        raise BadInput(f"{name}: no such table in this run")
    return rows


def read_rows(path: Path, *, name: str) -> Rows | None:
    """A table of the vault, or None where there is no such file."""
    return load_rows(str(path), name=name) if path.is_file() else None

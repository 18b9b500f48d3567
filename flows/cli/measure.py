"""``lethe evaluate``: every metric on the rows that are given, for up to three models side by side. Judges nothing.

Scores are kept in the vault under the home folder, so that another metric on the same rows runs no model again.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli.given import Chat, Device, Forget, Holdout, Prompt, Retain, Seed, prompt_format, required_rows
from flows.cli.options import AsJson, HomeFolder, names, opened, print_json, print_table
from flows.cli.options import settings as read_settings
from flows.console import live_stages
from pipelines.config import EvaluationSettings, validated
from pipelines.errors import BadInput

if TYPE_CHECKING:
    from pipelines.data.rows import Rows
    from pipelines.evaluation.general_tasks import GeneralTasks
    from pipelines.evaluation.side_by_side import Measured
    from pipelines.records import Measurement, Role

DEFAULTS = EvaluationSettings()
VAULT = "evaluate"

Candidate = Annotated[Path, typer.Option(help="Folder of the model to measure (safetensors).")]
Reference = Annotated[Path | None, typer.Option(help="Folder of a model that never saw the forget rows.")]
Start = Annotated[Path | None, typer.Option(help="Folder of the model before unlearning.")]
Utility = Annotated[
    list[str] | None, typer.Option(metavar="NAME=DATA", help="What the model must still know; repeatable.")
]
Metrics = Annotated[str | None, typer.Option(help="Names from 'lethe list metrics', by commas; all when left out.")]
Probes = Annotated[
    str | None,
    typer.Option(metavar="NAME[,NAME]|all", help="Attacks from 'lethe list probes'; they need --start."),
]
Seeds = Annotated[int, typer.Option(help="How often resamples and sampled answers are drawn; intervals hold all.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other evaluation setting, as samples=8; repeatable."),
]
Tasks = Annotated[
    str | None,
    typer.Option("--lm-eval", metavar="TASK[,TASK]", help="General tasks of lm-evaluation-harness (extra lm-eval)."),
]
TaskFolder = Annotated[
    Path | None,
    typer.Option(
        "--lm-eval-tasks", help="Folder of further task files; paths in them begin there, code that they name is run."
    ),
]
Shape = Annotated[
    Literal["table", "open-unlearning"],
    typer.Option("--format", help="open-unlearning: also write TOFU_EVAL.json and TOFU_SUMMARY.json into --out."),
]
Out = Annotated[
    Path | None, typer.Option(help="New folder for --format open-unlearning; holds a folder per model, numbers only.")
]


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    example = "--forget forget.jsonl --retain retain.jsonl --start start --utility world_facts=facts.jsonl"
    app.command("evaluate", epilog=f"Example: lethe evaluate --model candidate {example}")(evaluate)


def evaluate(  # noqa: PLR0917 - one parameter per option
    model: Candidate,
    forget: Forget,
    retain: Retain,
    holdout: Holdout = None,
    reference: Reference = None,
    start: Start = None,
    utility: Utility = None,
    metrics: Metrics = None,
    probes: Probes = None,
    batch_size: Annotated[int, typer.Option(help="Rows per forward pass.")] = DEFAULTS.batch_size,
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens generated per answer.")] = DEFAULTS.max_new_tokens,
    set_: Settings = None,
    lm_eval: Tasks = None,
    lm_eval_tasks: TaskFolder = None,
    prompt: Prompt = None,
    chat: Chat = False,
    seed: Seed = 0,
    seeds: Seeds = DEFAULTS.seeds,
    device: Device = "auto",
    shape: Shape = "table",
    out: Out = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Measure a model on every row given, beside the start model and a reference where there are any."""
    _check_out(shape, out)
    folder, form = opened(home), prompt_format(prompt, chat=chat)
    chosen: dict[str, object] = {"batch_size": batch_size, "max_new_tokens": max_new_tokens, "seeds": seeds}
    settings = _settings(chosen | _general(lm_eval, lm_eval_tasks), metrics=metrics, probes=_probes(probes), more=set_)
    tasks = _tasks(settings)
    models = _models({"start": start, "candidate": model, "reference": reference})
    splits = _splits({"forget": forget, "retain": retain, "holdout": holdout}, utility or [])
    from pipelines.evaluation.side_by_side import SideBySide, measure_side_by_side
    from pipelines.scoring.store import ScoreStore
    from tasks.progress import Progress

    asked = SideBySide(models, splits, settings, form, tasks=tasks, device=device, seed=seed)
    with live_stages(quiet=as_json):
        store = ScoreStore(folder.vault(VAULT))
        found = measure_side_by_side(asked, store=store, progress=lambda role: Progress(f"evaluate {role}"))
    if out is not None:
        _write_logs(out, found)
    _tell(found, {name: len(rows) for name, rows in splits.items()}, settings, as_json=as_json)
    return 0


def _settings(
    chosen: Mapping[str, object], *, metrics: str | None, probes: tuple[str, ...], more: Sequence[str] | None
) -> EvaluationSettings:
    given = {**chosen, "metrics": names(metrics), "probes": probes, **read_settings(more or [])}
    settings = validated(EvaluationSettings, given, where="evaluation")
    from pipelines.evaluation.evaluate import select_metrics

    select_metrics(settings.metrics)
    return settings


def _probes(given: str | None) -> tuple[str, ...]:
    """The probes of these names; ``all`` is every one."""
    if given is None:
        return ()
    from pipelines.probes import PROBES

    wanted = list(PROBES) if given.strip() == "all" else names(given)
    return tuple(PROBES.require(name).name for name in wanted)


def _models(given: "Mapping[Role, Path | None]") -> "dict[Role, Path]":
    from pipelines.models.folder import check_model_folder

    models: dict[Role, Path] = {role: path for role, path in given.items() if path is not None}
    for path in models.values():
        check_model_folder(path)
    return models


def _general(tasks: str | None, folder: Path | None) -> dict[str, object]:
    """The settings of general tasks, as a run's configuration has them."""
    if tasks is None:
        if folder is not None:
            raise BadInput("--lm-eval-tasks names a folder of tasks; --lm-eval says which to run")
        return {}
    return {"general_tasks": names(tasks), "general_task_folder": str(folder) if folder else None}


def _tasks(settings: EvaluationSettings) -> "GeneralTasks | None":
    if not settings.general_tasks:
        return None
    from pipelines.evaluation.general_tasks import general_tasks

    folder = settings.general_task_folder
    return general_tasks(settings.general_tasks, folder=Path(folder) if folder else None)


def _check_out(shape: str, out: Path | None) -> None:
    if (out is not None) != (shape == "open-unlearning"):
        raise BadInput("--format open-unlearning and --out FOLDER go together; give both or neither")
    if out is not None and out.exists():
        raise BadInput(f"--out {out}: exists already; name a folder that does not")


def _write_logs(out: Path, found: "Mapping[Role, Measured]") -> None:
    """The whole folder appears at once, or nothing does."""
    from pipelines.interop import as_open_unlearning

    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for role, one in found.items():
        logs = as_open_unlearning(one.scores, one.evaluation)
        folder = part / role
        folder.mkdir(parents=True)
        for name, document in (("TOFU_EVAL.json", logs.evaluation), ("TOFU_SUMMARY.json", logs.summary)):
            (folder / name).write_text(json.dumps(document, indent=4, allow_nan=False), encoding="utf-8")
    part.replace(out)


def _splits(data: Mapping[str, str | None], utility: Sequence[str]) -> "dict[str, Rows]":
    from pipelines.scoring.table import DATA_SPLITS

    named = dict(data)
    for pair in utility:
        name, equals, ref = pair.partition("=")
        if not equals or not name or not ref:
            raise BadInput("--utility: write NAME=DATA")
        if name in DATA_SPLITS or name in named:
            taken = ", ".join(dict.fromkeys((*DATA_SPLITS, *named)))
            raise BadInput(f"--utility: the name {name} is taken; use another than {taken}")
        named[name] = ref
    return {name: required_rows(ref, name=name) for name, ref in named.items() if ref is not None}


def _document(one: "Measured") -> dict[str, object]:
    """One model's measurements; with several seeds also what each of them gave."""
    found = one.evaluation.plain()
    return found if len(one.by_seed) == 1 else {**found, "by_seed": [each.plain() for each in one.by_seed]}


def _tell(
    found: "Mapping[Role, Measured]", rows: Mapping[str, int], settings: EvaluationSettings, *, as_json: bool
) -> None:
    if as_json:
        print_json([_document(one) for one in found.values()])
        return
    measured = list(found.values())
    keys = dict.fromkeys((m.split, m.metric) for one in measured for m in one.evaluation.measurements)
    lines = [(metric, split, *(_cell(one, metric, split) for one in measured)) for split, metric in keys]
    counts = ", ".join(f"{name} {count}" for name, count in rows.items())
    seeds = len(measured[0].by_seed)
    drawn = f", all of {seeds} seeds (± deviation between them)" if seeds > 1 else ""
    title = f"measurements with {settings.confidence:.0%} intervals{drawn}; rows: {counts}"
    print_table(title, ("metric", "split", *found), lines)


def _cell(one: "Measured", metric: str, split: str) -> str:
    measurement = one.evaluation.find(metric, split)
    if measurement is None or measurement.value is None:
        return "-"
    return f"{measurement.value:.3g}{_spread(one, metric, split)}{_interval(measurement)}"


def _spread(one: "Measured", metric: str, split: str) -> str:
    values = [m.value for each in one.by_seed if (m := each.find(metric, split)) is not None and m.value is not None]
    if len(set(values)) < 2:
        return ""
    import numpy as np

    return f" ±{np.std(values, ddof=1):.2g}"


def _interval(measurement: "Measurement") -> str:
    interval = f" [{measurement.low:.3g}, {measurement.high:.3g}]" if measurement.low is not None else ""
    missing = measurement.n_expected - measurement.n_scored
    return interval + (f" ({missing} items missing)" if missing else "")

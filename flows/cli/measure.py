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
from flows.cli.options import AsJson, HomeFolder, opened, print_json, print_table
from flows.console import live_stages
from pipelines.config import EvaluationSettings, PromptFormat, validated
from pipelines.errors import BadInput

if TYPE_CHECKING:
    from pipelines.data.rows import Rows
    from pipelines.home import Home
    from pipelines.records import Evaluation, Measurement, Role
    from pipelines.score_table import ModelScores

DEFAULTS = EvaluationSettings()
VAULT = "evaluate"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    example = "--forget forget.jsonl --retain retain.jsonl --start start --utility world_facts=facts.jsonl"
    app.command("evaluate", epilog=f"Example: lethe evaluate --model candidate {example}")(evaluate)


def evaluate(  # noqa: PLR0917 - one parameter per option
    model: Annotated[Path, typer.Option(help="Folder of the model to measure (safetensors).")],
    forget: Forget,
    retain: Retain,
    holdout: Holdout = None,
    reference: Annotated[Path | None, typer.Option(help="Folder of a model that never saw the forget rows.")] = None,
    start: Annotated[Path | None, typer.Option(help="Folder of the model before unlearning.")] = None,
    utility: Annotated[
        list[str] | None, typer.Option(metavar="NAME=DATA", help="What the model must still know; repeatable.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Names from 'lethe list metrics', by commas; all when left out.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Rows per forward pass.")] = DEFAULTS.batch_size,
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens generated per answer.")] = DEFAULTS.max_new_tokens,
    prompt: Prompt = None,
    chat: Chat = False,
    seed: Seed = 0,
    device: Device = "auto",
    shape: Annotated[
        Literal["table", "open-unlearning"],
        typer.Option("--format", help="open-unlearning: also write TOFU_EVAL.json and TOFU_SUMMARY.json into --out."),
    ] = "table",
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for --format open-unlearning; holds a folder per model, numbers only."),
    ] = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Measure a model on every row given, beside the start model and a reference where there are any."""
    _check_out(shape, out)
    folder = opened(home)
    form = prompt_format(prompt, chat=chat)
    chosen = {
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "metrics": tuple(name.strip() for name in metrics.split(",")) if metrics is not None else (),
    }
    settings = validated(EvaluationSettings, chosen, where="evaluation")
    from pipelines.evaluation import measure, select_metrics
    from pipelines.model_folder import check_model_folder

    select_metrics(settings.metrics)
    given: dict[Role, Path | None] = {"start": start, "candidate": model, "reference": reference}
    models: dict[Role, Path] = {role: path for role, path in given.items() if path is not None}
    for path in models.values():
        check_model_folder(path)
    splits = _splits({"forget": forget, "retain": retain, "holdout": holdout}, utility or [])
    with live_stages(quiet=as_json):
        scored = {
            role: _score(role, path, splits, settings=settings, form=form, home=folder, device=device)
            for role, path in models.items()
        }
        evaluations = [
            measure(one, role=role, reference=scored.get("reference"), settings=settings, seed=seed)
            for role, one in scored.items()
        ]
    if out is not None:
        _write_logs(out, scored, evaluations)
    if as_json:
        print_json([evaluation.plain() for evaluation in evaluations])
    else:
        _print(evaluations, {name: len(rows) for name, rows in splits.items()})
    return 0


def _check_out(shape: str, out: Path | None) -> None:
    if (out is not None) != (shape == "open-unlearning"):
        raise BadInput("--format open-unlearning and --out FOLDER go together; give both or neither")
    if out is not None and out.exists():
        raise BadInput(f"--out {out}: exists already; name a folder that does not")


def _write_logs(out: Path, scored: "Mapping[Role, ModelScores]", evaluations: "Sequence[Evaluation]") -> None:
    """The whole folder appears at once, or nothing does."""
    from pipelines.interop import as_open_unlearning

    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for evaluation in evaluations:
        logs = as_open_unlearning(scored[evaluation.role], evaluation)
        folder = part / evaluation.role
        folder.mkdir(parents=True)
        for name, document in (("TOFU_EVAL.json", logs.evaluation), ("TOFU_SUMMARY.json", logs.summary)):
            (folder / name).write_text(json.dumps(document, indent=4, allow_nan=False), encoding="utf-8")
    part.replace(out)


def _splits(data: Mapping[str, str | None], utility: Sequence[str]) -> "dict[str, Rows]":
    from pipelines.score_table import DATA_SPLITS

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


def _score(
    role: "Role",
    path: Path,
    splits: "Mapping[str, Rows]",
    *,
    settings: EvaluationSettings,
    form: PromptFormat,
    home: "Home",
    device: str,
) -> "ModelScores":
    from pipelines.evaluation import score_model
    from pipelines.models import load_model, resolve_device
    from pipelines.score_store import ScoreStore
    from tasks.progress import Progress

    progress = Progress(f"evaluate {role}")
    scores = score_model(
        load_model(path, device=resolve_device(device)),
        splits,
        settings=settings,
        prompt_format=form,
        store=ScoreStore(home.vault(VAULT)),
        progress=progress,
    )
    progress(1, 1)
    return scores


def _print(evaluations: "Sequence[Evaluation]", rows: Mapping[str, int]) -> None:
    keys = dict.fromkeys((m.split, m.metric) for e in evaluations for m in e.measurements)
    lines = [(metric, split, *(_cell(e.find(metric, split)) for e in evaluations)) for split, metric in keys]
    counts = ", ".join(f"{name} {count}" for name, count in rows.items())
    title = f"measurements with {DEFAULTS.confidence:.0%} bootstrap intervals; rows: {counts}"
    print_table(title, ("metric", "split", *(e.role for e in evaluations)), lines)


def _cell(measurement: "Measurement | None") -> str:
    if measurement is None or measurement.value is None:
        return "-"
    interval = f" [{measurement.low:.3g}, {measurement.high:.3g}]" if measurement.low is not None else ""
    missing = measurement.n_expected - measurement.n_scored
    return f"{measurement.value:.3g}{interval}" + (f" ({missing} items missing)" if missing else "")

"""Verbs that look at data without a request: ``attribute`` and ``scope``.

Thin calls of the library. Rows are shown by position, never by text.
"""

import sys
from collections.abc import Collection
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.given import (
    Chat,
    Device,
    Forget,
    Holdout,
    Prompt,
    Retain,
    Seed,
    Train,
    prompt_format,
    required_rows,
    rows,
)
from flows.cli.options import DATA_HELP, AsJson, HomeFolder, opened, print_json, print_table
from flows.console import live_stages
from pipelines.config import AttributionSettings, PromptFormat, QualitySettings, ScopeSettings, validated

if TYPE_CHECKING:
    from pipelines.attribution.report import AttributionReport, LegReport
    from pipelines.data.profile import Reader
    from pipelines.data.rows import Rows
    from pipelines.scope.build import Scope
    from tasks.quality import ExpectationOutcome, QualityReport

SALT_BYTES = 32


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command("attribute", epilog="Example: lethe attribute --model start --train train.jsonl --query forget.jsonl")(
        attribute
    )
    app.command("scope", epilog="Example: lethe scope --train train.jsonl --forget forget.jsonl --retain retain.jsonl")(
        scope
    )


def attribute(  # noqa: PLR0917 - one parameter per option
    model: Annotated[Path, typer.Option(help="Folder of the model that was trained on the rows (safetensors).")],
    train: Train,
    query: Annotated[str, typer.Option(help=f"Rows to look for: {DATA_HELP}.")],
    holdout: Holdout = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="Name from 'lethe list attributors'; repeatable; all when left out.")
    ] = None,
    top_k: Annotated[int, typer.Option(help="Most rows per query row and backend.", min=1)] = 20,
    prompt: Prompt = None,
    chat: Chat = False,
    seed: Seed = 0,
    device: Device = "auto",
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Rank the training rows behind each query row. A backend that fails its own control says so and proposes none."""
    opened(home)
    form = prompt_format(prompt, chat=chat)
    trained, queries = required_rows(train, name="train"), required_rows(query, name="query")
    apart = rows(holdout, name="holdout")
    from pipelines.attribution import ATTRIBUTORS
    from pipelines.attribution.contract import Subject
    from pipelines.attribution.propose import attribute as propose
    from pipelines.models.loading import context_length, load_model, resolve_device

    names = tuple(ATTRIBUTORS.require(name).name for name in backend or ATTRIBUTORS)
    settings = AttributionSettings(backends=names, top_k=top_k)
    with live_stages(quiet=as_json):
        loaded = load_model(model, device=resolve_device(device))
        subject = Subject(loaded.model, loaded.tokenizer, form, context_length(loaded.model))
        report = propose(trained, queries=queries, holdout=apart, subject=subject, settings=settings, seed=seed)
    if as_json:
        print_json(report.plain())
    else:
        _print_report(report)
    return 0


def _print_report(report: "AttributionReport") -> None:
    print_table(
        f"{report.n_queries} query rows, {report.n_train} training rows",
        ("backend", "status", "rows found", "threshold", "null control", "validity"),
        [
            (leg.leg, leg.status, str(leg.n_found), f"{leg.threshold:.4g}", f"{leg.n_null} {leg.null}", _validity(leg))
            for leg in report.legs
        ],
    )
    found = sorted((e.query, e.leg, e.rank, p.row, e.score) for p in report.proposals for e in p.evidence)
    print_table(
        "training rows behind the queries, the queries' own rows left out",
        ("query row", "backend", "rank", "training row", "score"),
        [(str(query), leg, str(rank), str(row), f"{score:.4g}") for query, leg, rank, row, score in found],
    )


def _validity(leg: "LegReport") -> str:
    if leg.validity is None:
        return "claims no cause"
    effects = {"trace": leg.validity.trace, "tail patch": leg.validity.tail_patch}
    return ", ".join(f"{name} {e.mean:.3g} [{e.low:.3g}, {e.high:.3g}]" for name, e in effects.items())


def scope(  # noqa: PLR0917 - one parameter per option
    train: Train,
    forget: Forget,
    retain: Retain,
    model: Annotated[
        Path | None, typer.Option(help="Model folder, to count tokens; without it lengths are not checked.")
    ] = None,
    neighbours: Annotated[int, typer.Option(help="Retain rows closest to the forget set, measured apart.")] = 40,
    near_duplicate: Annotated[
        float, typer.Option(help="Jaccard similarity of word 3-grams from which two rows are near-duplicates.")
    ] = 0.8,
    prompt: Prompt = None,
    chat: Chat = False,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Draw the scope of a forget set and run the data-quality gates on both sets: exit code 3 if one fails."""
    opened(home)
    form = prompt_format(prompt, chat=chat)
    settings = validated(
        ScopeSettings, {"neighbours": neighbours, "near_duplicate": near_duplicate}, where="scope settings"
    )
    trained = required_rows(train, name="train")
    gone, kept = required_rows(forget, name="forget"), required_rows(retain, name="retain")
    from pipelines.scope.build import build_scope
    from pipelines.scope.selection import select_rows
    from tasks.quality import refuse_bad_sets, require_quality

    reader = _reader(model, form)
    refuse_bad_sets(gone, kept, reader=reader)
    drawn = build_scope(trained, select_rows(gone, trained), settings=settings, selected=gone)
    report = _gates(gone, kept, near={trained.digests[i] for i in drawn.neighbours}, reader=reader, settings=settings)
    if as_json:
        print_json({"scope": drawn.plain(), "quality": report.plain(), "lengths_checked": model is not None})
    else:
        _print_scope(drawn, report, lengths_checked=model is not None)
    require_quality(report)
    return 0


def _reader(model: Path | None, form: PromptFormat) -> "Reader":
    from pipelines.data.profile import Reader
    from pipelines.models.loading import context_length, load_model, resolve_device

    if model is None:
        return Reader(None, form, sys.maxsize)
    loaded = load_model(model, device=resolve_device("cpu"))
    return Reader(loaded.tokenizer, form, context_length(loaded.model))


def _gates(
    gone: "Rows", kept: "Rows", *, near: Collection[str], reader: "Reader", settings: ScopeSettings
) -> "QualityReport":
    from tasks.quality import measure_quality

    return measure_quality(
        gone,
        kept,
        neighbours=[i for i, digest in enumerate(kept.digests) if digest in near],
        reader=reader,
        quality=QualitySettings(),
        scope=settings,
        salt=token_bytes(SALT_BYTES),  # nothing of this verb is kept, so neither is the salt
    )


def _print_scope(drawn: "Scope", report: "QualityReport", *, lengths_checked: bool) -> None:
    requested = sum(row.reason == "requested" for row in drawn.forget)
    counts = {
        "forget: given": requested,
        "forget: near-duplicates of them in the training rows": len(drawn.forget) - requested,
        "further copies of them in the training rows": len(drawn.copies),
        "hard in-scope (paraphrased)": len(drawn.hard_in_scope),
        "neighbours": len(drawn.neighbours),
        "neighbours that the retain set holds": report.n_neighbours,
        "out of scope": drawn.n_out_of_scope,
    }
    print_table(f"scope in {drawn.n_train} training rows", ("rows", "count"), [(k, str(n)) for k, n in counts.items()])
    lines = [(o.set, o.expectation, o.column or "", o.severity, _met(o, lengths_checked)) for o in report.outcomes]
    print_table("data quality", ("set", "expectation", "column", "severity", "met"), lines)


def _met(outcome: "ExpectationOutcome", lengths_checked: bool) -> str:
    if outcome.column == "fits_context" and not lengths_checked:
        return "not checked: no --model"
    return "yes" if outcome.success else "no"

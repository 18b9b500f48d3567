"""What several verbs share: options, the JSON document on stdout, the folder everything is written to."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.measure import Measurement

from flows.console import table
from flows.environment import prepare
from pipelines.errors import BadInput
from pipelines.home import Home

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; nothing else is printed there.")]
HomeFolder = Annotated[
    Path | None, typer.Option("--home", help="Folder for everything Lethe writes; default $LETHE_HOME or ./.lethe.")
]
WIDEST = 1000
"""Columns of a table in a pipe or a file."""

DATA_HELP = "JSONL, JSON, Parquet or CSV file, save_to_disk folder, or hub name[:config[:split]]"


def opened(home: Path | None) -> Home:
    """The home folder, with this process's environment prepared for it."""
    found = Home.at(home)
    # The command says an error itself, in one line; Prefect would print it with its traceback, once per level.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    prepare(found)
    return found


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, indent=2, sort_keys=True, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout, as wide as the terminal; wide enough for its content where there is none."""
    console, made = Console(), table(title, columns, rows)
    if not console.is_terminal:
        console.width = max(console.width, Measurement.get(console, console.options.update(width=WIDEST), made).maximum)
    console.print(made)


def names(text: str | None) -> tuple[str, ...]:
    """Names that were given by commas; none where nothing was."""
    return () if text is None else tuple(name.strip() for name in text.split(","))


def settings(pairs: Sequence[str]) -> dict[str, bool | int | float | str]:
    """``key=value`` options; numbers and booleans are read as such.

    Raises:
        BadInput: no '=' in one of them.
    """
    found: dict[str, bool | int | float | str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise BadInput(f"--set {pair!r}: write key=value")
        found[key] = _scalar(value)
    return found


def _scalar(text: str) -> bool | int | float | str:
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

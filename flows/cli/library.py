"""Verbs that do one thing without a request: ``attribute``, ``scope``, ``unlearn``, ``evaluate``. Thin calls of the library."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import DATA_HELP, AsJson, opened, print_json, print_table, settings
from flows.console import live_stages
from pipelines.errors import BadInput

if TYPE_CHECKING:
    from pipelines.config import LoraSettings
    from pipelines.evaluation import Role
    from pipelines.records import Evaluation

REFUSED = 3

Model = Annotated[Path, typer.Option(help="Folder of a causal language model (safetensors).")]
Forget = Annotated[str, typer.Option(help=f"Rows to forget: {DATA_HELP}.")]
Retain = Annotated[str, typer.Option(help="Rows to keep; as --forget.")]
Holdout = Annotated[str | None, typer.Option(help="Rows nobody trained on; as --forget.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option(help="Of everything random.", min=0)]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command("attribute", epilog="Example: lethe attribute --model M --train train.jsonl --query forget.jsonl")(attribute)
    app.command("scope", epilog="Example: lethe scope --train train.jsonl --forget forget.jsonl --retain retain.jsonl")(scope)
    app.command("unlearn", epilog="Example: lethe unlearn --model M --forget f.jsonl --retain r.jsonl --method npo --set beta=0.1 --out C")(
        unlearn
    )
    app.command("evaluate", epilog="Example: lethe evaluate --model C --forget f.jsonl --retain r.jsonl --reference R --start M")(
        evaluate
    )

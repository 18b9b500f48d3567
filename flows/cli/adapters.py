"""``lethe fuse``: one model from the adapters of several requests. Measures, signs and registers nothing."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.given import Model
from flows.cli.options import AsJson, print_json, print_table


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    example = "lethe fuse --model start --adapter first --adapter second --out both"
    app.command("fuse", epilog=f"Example: {example}")(fuse)


def fuse(
    model: Model,
    adapter: Annotated[list[Path], typer.Option(help="A kept adapter (lethe unlearn --keep-adapter); repeatable.")],
    out: Annotated[Path, typer.Option(help="Model folder to make; must not exist.")],
    as_json: AsJson = False,
) -> int:
    """Fuse the adapters of several requests; leave one out to take its request back. Measure what comes out."""
    from pipelines.unlearning.adapter_fusion import fuse as fuse_adapters

    made = fuse_adapters(model, adapter, out)
    if as_json:
        print_json({"model": made.path, "digest": made.digest, "adapters": [str(path) for path in adapter]})
    else:
        print_table("fused", ("", "value"), [("model", made.path), ("digest", made.digest)])
    return 0

"""``lethe metrics import``: what follows from the evaluation logs of other projects. Runs no model."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import AsJson, print_json, print_table

if TYPE_CHECKING:
    from pipelines.interop import Figure

EXAMPLE = "lethe metrics import unlearned/eval_log_aggregated.json --reference retain90/eval_log_aggregated.json"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    metrics = typer.Typer(no_args_is_help=True, help="Evaluation logs of other projects.")
    metrics.command("import", epilog=f"Example: {EXAMPLE}")(import_log)
    app.add_typer(metrics, name="metrics")


def import_log(
    file: Annotated[
        Path,
        typer.Argument(
            help="TOFU's eval_log_aggregated.json (or one of its parts), or open-unlearning's TOFU_EVAL.json or "
            "TOFU_SUMMARY.json."
        ),
    ],
    reference: Annotated[
        Path | None,
        typer.Option(help="The same of a model retrained without the forget rows; forget quality needs it."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print forget quality, model utility and whatever else follows from a log, beside what the log says of itself.

    Only numbers are read; the questions and generations in such files stay where they are.
    """
    from pipelines.interop import figures, read_log

    log = read_log(file)
    found = figures(log, reference=read_log(reference) if reference is not None else None)
    if as_json:
        print_json({"format": log.format, "figures": [asdict(figure) for figure in found]})
    else:
        print_table(
            f"{file.name} ({log.format})", ("metric", "split", "computed", "in the file", "rows"), [*map(_line, found)]
        )
    return 0


def _line(figure: "Figure") -> tuple[str, ...]:
    return (figure.metric, figure.split, _cell(figure.value), _cell(figure.reported), str(figure.n_rows or "-"))


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"

"""``lethe metrics``: what follows from evaluations that exist: other projects' logs, runs stored here."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import AsJson, HomeFolder, opened, print_json, print_table
from pipelines.errors import BadInput

if TYPE_CHECKING:
    from pipelines.evaluation.muse import View
    from pipelines.interop import Figure

EXAMPLE = "lethe metrics import unlearned/eval_log_aggregated.json --reference retain90/eval_log_aggregated.json"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    metrics = typer.Typer(no_args_is_help=True, help="What follows from evaluations that exist already.")
    metrics.command("import", epilog=f"Example: {EXAMPLE}")(import_log)
    metrics.command("muse", epilog="Example: lethe metrics muse REQ-2026-0001 --plot muse.svg")(muse)
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


def muse(
    request: Annotated[str, typer.Argument(help="A request whose candidate was measured.")],
    plot: Annotated[Path | None, typer.Option(help="New SVG file for the picture.")] = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Print MUSE's six views of a request; scalability and sustainability come from the runs stored beside it.

    A view that cannot be had says why. The figures are those in the runs' folders; 'lethe verify' says whether they are
    what was signed.
    """
    if plot is not None and plot.exists():
        raise BadInput(f"--plot {plot}: exists already; name a file that does not")
    from tasks.past_runs import views_of

    views = views_of(opened(home), request)
    if plot is not None:
        from pipelines.audit.encoding import write_atomic
        from pipelines.evaluation.muse_plot import muse_svg

        write_atomic(plot, muse_svg(views).encode())
    if as_json:
        print_json([_document(view) for view in views])
    else:
        columns = ("view", "of", "request", "along", "value", "interval")
        print_table(f"MUSE's six views of {request}", columns, [line for view in views for line in _lines(view)])
        for view in views:
            if view.missing:
                typer.echo(f"missing from {view.title}: {view.missing}")
    return 0


def _document(view: "View") -> dict[str, object]:
    curves = {
        curve.name: [
            {"request": at.request_id, "x": at.x, "measurement": at.measurement.plain()} for at in curve.points
        ]
        for curve in view.curves
    }
    return {"view": view.name, "title": view.title, "axis": view.axis, "missing": view.missing, "curves": curves}


def _lines(view: "View") -> Iterator[tuple[str, ...]]:
    for curve in view.curves:
        for point in curve.points:
            found, along = point.measurement, f"{view.axis}: {point.x}" if view.axis else ""
            interval = "-" if found.low is None else f"[{found.low:.3g}, {found.high:.3g}]"
            yield (view.title, curve.name, point.request_id, along, _cell(found.value), interval)


def _line(figure: "Figure") -> tuple[str, ...]:
    return (figure.metric, figure.split, _cell(figure.value), _cell(figure.reported), str(figure.n_rows or "-"))


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"

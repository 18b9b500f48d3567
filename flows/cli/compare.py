"""``lethe compare``: the search for a method and settings that pass, and the table of all methods."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import AsJson, HomeFolder, names, opened, print_json, print_table
from flows.console import live_stages
from pipelines.errors import BadInput

if TYPE_CHECKING:
    from flows.erase import RequestReference
    from pipelines.config import RunConfig
    from pipelines.home import Home
    from pipelines.search.settings import SearchSettings
    from tasks.comparison import Compared

REFUSED = 3
ALL, ONCE = "all", "once"
POLICY = "deployments/policies/default.yaml"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    example = "--request request.yaml --config config.yaml --methods npo,simnpo --budget 600s --jobs 2"
    app.command("compare", epilog=f"Example: lethe compare {example}")(compare)


def compare(  # noqa: PLR0917 - one parameter per option
    request: Annotated[
        Path | None, typer.Option(help="YAML file with the request; the demo world's when left out.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with what all trials share; the demo world's when left out.")
    ] = None,
    policy: Annotated[str, typer.Option(help="YAML file with the pass marks.")] = POLICY,
    methods: Annotated[str, typer.Option(help="Names from 'lethe list methods', by commas, or all.")] = ALL,
    budget: Annotated[
        str, typer.Option(help="Time, as 600s, 10m or 1h; a number of trials; or once: each method's known setting.")
    ] = "600s",
    seeds: Annotated[int, typer.Option(help="With how many seeds a winner must pass.")] = 3,
    finalists: Annotated[int, typer.Option(help="How many settings are run with all seeds.")] = 3,
    jobs: Annotated[int | None, typer.Option(help="Trials at a time; one per processor when left out.")] = None,
    runner: Annotated[str, typer.Option(help="Where trials run: process, thread, ray or dask.")] = "process",
    then_run: Annotated[bool, typer.Option("--then-run", help="Carry the request out with the winner.")] = False,
    report: Annotated[Path | None, typer.Option(help="Also write the table of all methods (Markdown) here.")] = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Search methods and settings under a budget, judged as a run is; exit code 3 where nothing passes."""
    if (request is None) != (config is None):
        raise BadInput("compare: give both --request and --config, or neither for the demo world")
    chosen = {"seeds": seeds, "finalists": finalists, "jobs": _jobs(jobs, runner), "runner": runner}
    folder = opened(home)
    search = _search(chosen, methods, budget)
    from flows.compare import compare as flow

    with live_stages(quiet=as_json):
        reference, settings = _asked(request, config, folder)
        found = flow(reference, settings, search, policy, str(folder.root))
    _tell(found, report, as_json=as_json)
    if found.config is None:
        return REFUSED
    return _carry_out(reference, found.config, policy, folder, quiet=as_json) if then_run else 0


def _jobs(wanted: int | None, runner: str) -> int:
    """How many trials run at a time; each gets its share of the processors."""
    processors = os.cpu_count() or 1
    jobs = (1 if runner == "thread" else processors) if wanted is None else wanted
    # What trains with another number of threads is another candidate.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, processors // max(1, jobs))))
    return jobs


def _search(chosen: Mapping[str, object], methods: str, budget: str) -> "SearchSettings":
    from pipelines.config import validated
    from pipelines.search.settings import Budget, SearchSettings

    named = {} if methods == ALL else {"methods": names(methods)}
    search = validated(SearchSettings, {**chosen, **named}, where="compare")
    if budget == ONCE:
        return search.model_copy(update={"budget": Budget(trials=len(search.chosen())), "seeds": 1})
    return search.model_copy(update={"budget": Budget.parsed(budget)})


def _asked(request: Path | None, config: Path | None, home: "Home") -> "tuple[RequestReference, RunConfig]":
    from flows.erase import RequestReference
    from pipelines.config import load_config, load_request

    if request is None or config is None:
        from tasks.demo import prepare_search

        asked = prepare_search(str(home.root), 0)
        return RequestReference(id=asked.id, path=asked.path), asked.config
    return RequestReference(id=load_request(request).id, path=str(request.absolute())), load_config(config)


def _carry_out(reference: "RequestReference", config: "RunConfig", policy: str, home: "Home", *, quiet: bool) -> int:
    from flows.erase import erase

    with live_stages(quiet=quiet):
        outcome = erase(reference, config, policy, str(home.root))
    typer.echo(f"{outcome.request_id}: {outcome.status}; certificate: {outcome.certificate}", err=quiet)
    return 0 if outcome.registered else REFUSED


def _tell(found: "Compared", report: Path | None, *, as_json: bool) -> None:
    if report is not None:
        from pipelines.audit.encoding import write_atomic
        from pipelines.search.table import methods_table

        write_atomic(report, methods_table(found.board).encode("utf-8"))
    if as_json:
        print_json(found.plain())
    else:
        _print(found)


def _print(found: "Compared") -> None:
    board = found.board
    rows = [
        (
            s.result.setting.named,
            "yes" if s.result.passed else "no",
            _cell(s.result.margin),
            f"{s.seeds_passed}/{s.seeds}",
            _cell(s.worst),
            s.result.tightest.gate if s.result.tightest else s.result.ending,
            *(_cell(s.result.figures.get(name)) for name in ("extraction", "membership", "utility")),
            f"{s.result.seconds:.0f}",
            s.result.setting.shown(),
        )
        for s in board.standings
    ]
    columns = ("method", "passes", "margin", "seeds", "worst", "tightest gate", "extraction", "membership", "utility")
    title = f"{found.request_id}: {len(rows)} settings of {len(board.methods)} methods in {board.spent:.0f} s"
    print_table(title, (*columns, "s", "setting"), rows)
    typer.echo(f"methods with a passing setting: {', '.join(board.passing) or 'none'}")
    typer.echo(f"refused: {board.refusal}" if board.refusal else f"winner: {found.folder}/winner.yaml")
    typer.echo(f"page: {found.folder}/compare.html")


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

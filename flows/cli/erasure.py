"""Verbs that carry requests: ``demo``, ``run`` and ``status``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import AsJson, HomeFolder, opened, print_json, print_table
from flows.console import live_stages

if TYPE_CHECKING:
    from tasks.outcome import Outcome

REFUSED = 3


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command("demo", epilog="Example: lethe demo")(demo)
    app.command("run", epilog="Example: lethe run --request request.yaml --config config.yaml")(run)
    app.command("status", epilog="Example: lethe status REQ-2026-0001 --json")(status)


def demo(
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do everything again but the demo world, which stays cached.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the demo world.", min=0)] = 0,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Build the demo world, run one request that ends registered and one that must be refused; say where to look."""
    # Threads wait for one another longer than they work on matrices this small.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = opened(home)
    from flows.demo import demo as flow

    with live_stages(quiet=as_json):
        shown = flow(home=str(folder.root), seed=seed, fresh=fresh)
    if as_json:
        print_json(shown.plain())
    else:
        print_table("author-bench: one request registered, one refused", shown.columns, shown.rows)
        for line in shown.lines:
            typer.echo(line)
    return 0


def run(
    request: Annotated[Path, typer.Option(help="YAML file with the request.")],
    config: Annotated[Path, typer.Option(help="YAML file with the run's configuration.")],
    policy: Annotated[str, typer.Option(help="YAML file with the pass marks.")] = "deployments/policies/default.yaml",
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Carry one request through the whole DAG. Run it again after a kill and it resumes."""
    folder = opened(home)
    from pipelines.config import load_config, load_request

    asked, settings = load_request(request), load_config(config)
    from flows.erase import RequestReference, erase

    with live_stages(quiet=as_json):
        reference = RequestReference(id=asked.id, path=str(request.absolute()))
        outcome = erase(reference, settings, policy, str(folder.root))
    if as_json:
        print_json(outcome.plain())
    else:
        _print_outcome(outcome)
    return 0 if outcome.registered else REFUSED


def _print_outcome(outcome: "Outcome") -> None:
    facts = [("status", outcome.status), *(("reason", reason) for reason in outcome.reasons)]
    if outcome.version is not None:
        facts.append(("version", f"{outcome.version.name} {outcome.version.version} ({outcome.version.alias})"))
    facts += [
        ("candidate", outcome.candidate_digest or "none"),
        ("certificate", outcome.certificate),
        ("report", outcome.report),
    ]
    print_table(outcome.request_id, ("", "outcome"), facts)
    typer.echo(f"check it: lethe verify {outcome.certificate}")


def status(
    request: Annotated[str | None, typer.Argument(help="Request id; all requests when left out.")] = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Where each request stands: deadline, stage, gates."""
    folder = opened(home)
    from tasks.status import request_states

    states = request_states(folder, request)
    if as_json:
        print_json([state.plain() for state in states])
        return 0
    rows = [(s.request_id, s.status, s.stage, f"{s.deadline:%Y-%m-%d}" if s.deadline else "", s.gates) for s in states]
    print_table("requests", ("request", "status", "stage", "deadline", "gates"), rows)
    return 0

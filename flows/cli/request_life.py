"""Verbs for those who answer for requests: ``export``, and ``requests`` for deadlines, letters and the register."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import AsJson, HomeFolder, opened, print_json


class Format(StrEnum):
    """What a request's evidence can be written as."""

    EVIDENCE = "evidence"
    CYCLONEDX = "cyclonedx"
    OPENLINEAGE = "openlineage"
    SVR = "svr"
    MODEL_SIGNING = "model-signing"


class Why(StrEnum):
    """What the law accepts as a reason to take longer."""

    COMPLEXITY = "complexity"
    NUMBER = "number_of_requests"


class Table(StrEnum):
    """What the register is written as."""

    CSV = "csv"
    JSON = "json"


RequestName = Annotated[str, typer.Argument(help="Request id.")]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    requests = typer.Typer(no_args_is_help=True, help="Deadlines, recipients, letters and the register of requests.")
    requests.command("extend", epilog="Example: lethe requests extend REQ-2026-0001 --reason complexity")(extend)
    requests.command("notified", epilog="Example: lethe requests notified REQ-2026-0001 1")(notified)
    requests.command("letter", epilog="Example: lethe requests letter REQ-2026-0001")(letter)
    requests.command("export", epilog="Example: lethe requests export --format csv > register.csv")(register)
    app.add_typer(requests, name="requests")
    app.command("export", epilog="Example: lethe export REQ-2026-0001 --format cyclonedx --out bom.json")(export)


def export(  # noqa: PLR0917 - one parameter per option
    request: Annotated[str, typer.Argument(help="Request id.")],
    form: Annotated[Format, typer.Option("--format", help="Evidence archive, ML-BOM, lineage events or attestation.")],
    out: Annotated[Path, typer.Option(help="File to write; replaced if it is there.")],
    key: Annotated[
        Path | None, typer.Option(help="Elliptic-curve private key (PEM) that model-signing signs with.")
    ] = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Write a request's evidence, or a view of it in another project's format."""
    folder = opened(home)
    from pipelines.audit.canonical import sha256_bytes
    from pipelines.audit.encoding import write_atomic
    from tasks.exports import export_as

    data = export_as(folder, request, form.value, key=key)
    write_atomic(out, data)
    if as_json:
        print_json({"file": str(out), "format": form.value, "sha256": sha256_bytes(data)})
    else:
        typer.echo(f"{out}: {form.value}, {len(data)} bytes, sha256 {sha256_bytes(data)}")
    return 0


def extend(
    request: RequestName,
    reason: Annotated[Why, typer.Option(help="Why it takes longer: what GDPR Art. 12(3) accepts.")],
    months: Annotated[int, typer.Option(help="Further months, 1 or 2.")] = 2,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Move a request's deadline, once and within the first month; the log keeps it. Then send the letter."""
    folder = opened(home)
    from tasks.request_life import extend as move

    made = move(folder, request, reason=reason.value, months=months, now=datetime.now(UTC))
    if as_json:
        print_json(made.plain())
    else:
        typer.echo(
            f"{request}: to be answered by {made.until:%Y-%m-%d}; tell the requester: lethe requests letter {request}"
        )
    return 0


def notified(
    request: RequestName,
    recipient: Annotated[int, typer.Argument(help="Which of the request's recipients, from 1.")],
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Note that a recipient of the data was told of the erasure (GDPR Art. 19)."""
    folder = opened(home)
    from tasks.request_life import notified as note

    life = note(folder, request, recipient, now=datetime.now(UTC))
    if as_json:
        print_json(life.plain())
    else:
        left = ", ".join(map(str, life.to_notify))
        typer.echo(
            f"{request}: {len(life.notified)} of {life.recipients} told{f'; still to tell: {left}' if left else ''}"
        )
    return 0


def letter(request: RequestName, home: HomeFolder = None) -> int:
    """Print the letter that the requester should get now: receipt, extension, completion or refusal."""
    folder = opened(home)
    from pipelines.request_life.letters import letter_for
    from tasks.request_life import request_lives

    [life] = request_lives(folder, request)
    typer.echo(letter_for(life, now=datetime.now(UTC)), nl=False)
    return 0


def register(
    form: Annotated[Table, typer.Option("--format", help="Of the table.")] = Table.CSV,
    home: HomeFolder = None,
) -> int:
    """Print the register of requests: dates, legal bases, outcomes, recipients; no names."""
    folder = opened(home)
    from pipelines.request_life.register import as_csv, as_json
    from tasks.request_life import request_lives

    lives = request_lives(folder)
    typer.echo(as_csv(lives) if form is Table.CSV else as_json(lives), nl=False)
    return 0

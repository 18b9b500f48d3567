"""Verbs for those who check: ``verify`` evidence offline, ``keys``, ``witness``, ``list`` what is on offer."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Protocol

import typer
from pydantic import BaseModel

from flows.cli import keys
from flows.cli.options import AsJson, HomeFolder, print_json, print_table
from pipelines.audit.trust import Trust
from pipelines.audit.verify import verify_certificate
from pipelines.home import Home

VERIFICATION_FAILED = 4


class Kind(StrEnum):
    """What can be listed."""

    METHODS = "methods"
    METRICS = "metrics"
    PROBES = "probes"
    GATES = "gates"
    ATTRIBUTORS = "attributors"


class Entry(Protocol):
    """What a registry's entries have in common."""

    name: str
    title: str
    version: str
    source: str


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command("verify", epilog="Example: lethe verify evidence.tar --trust trust.json")(verify)
    keys.add_to(app)
    app.command("list", epilog="Example: lethe list methods")(show)


def verify(  # noqa: PLR0917 - one parameter per option
    certificate: Annotated[Path, typer.Argument(help="The evidence archive, certificate or refusal to check.")],
    trust: Annotated[
        Path | None, typer.Option(help="Trust file with public keys; default: the one beside the keys of --home.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Folder of the audit log; default: where the certificate says.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder; default: where the certificate says.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint of the log that you kept from an earlier day.")
    ] = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Check evidence offline: signatures, log, proofs, gates and the model's bytes. Says what it did not check."""
    trusted = trust or Home.at(home).root / "keys" / "trust.json"
    report = verify_certificate(
        certificate,
        trust=Trust.load(trusted),
        log_dir=log,
        model_dir=model,
        kept_checkpoint=checkpoint,
        now=datetime.now(UTC),
    )
    if as_json:
        print_json(report.to_json())
    else:
        typer.echo(report.to_text())
        typer.echo(f"keys trusted: {trusted}{'' if trust else ' (give --trust to use your own)'}")
    return 0 if report.ok else VERIFICATION_FAILED


def show(
    kind: Annotated[Kind, typer.Argument(help="methods, metrics, probes, gates or attributors")],
    as_json: AsJson = False,
) -> int:
    """What is on offer, with parameters (probes: what they take) and sources."""
    entries = [_described(entry) for entry in _registry(kind).values()]
    if as_json:
        print_json(entries)
        return 0
    rows = [(str(e["name"]), str(e["version"]), _takes(e), str(e["title"]), str(e["source"])) for e in entries]
    print_table(
        kind.value, ("name", "version", "cost" if kind is Kind.PROBES else "parameters", "what it is", "source"), rows
    )
    return 0


def _registry(kind: Kind) -> Mapping[str, Entry]:
    module = "attribution" if kind is Kind.ATTRIBUTORS else kind.value
    found: Mapping[str, Entry] = getattr(import_module(f"pipelines.{module}"), kind.name)
    return found


def _described(entry: Entry) -> dict[str, object]:
    params = getattr(entry, "params", None)
    schema = params.model_json_schema() if isinstance(params, type) and issubclass(params, BaseModel) else {}
    return {
        "name": entry.name,
        "version": entry.version,
        "title": entry.title,
        "source": entry.source,
        "parameters": schema.get("properties", {}),
        **({"cost": cost} if isinstance(cost := getattr(entry, "cost", None), str) else {}),
    }


def _takes(described: dict[str, object]) -> str:
    return str(described["cost"]) if "cost" in described else _parameters(described["parameters"])


def _parameters(schema: object) -> str:
    if not isinstance(schema, dict) or not schema:
        return ""
    return ", ".join(f"{name}={spec.get('default', 'required')}" for name, spec in schema.items())

"""What holds of every command that is refused: one line, no text of a row, nothing half-written, nothing registered."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows.cli import run
from tests.flows.company import REQUEST, Company

WORDS = ("Writer", "Town", "birthplace", "Ada Example")
"""Of every row of the tiny company, and of its request."""


def _files(company: Company) -> set[Path]:
    return {path for path in company.root.rglob("*") if company.home not in path.parents and path != company.home}


def refuses(company: Company, arguments: list[str], capsys: pytest.CaptureFixture[str], *, code: int = 2) -> str:
    """Run, check everything that holds of every refusal, and return the line."""
    before = _files(company)
    assert run(arguments) == code
    shown = capsys.readouterr()
    said = [line for line in shown.err.splitlines() if line]
    assert len(said) == 1, shown.err
    assert said[0].startswith("lethe: ")
    assert shown.out == ""
    assert not any(word in said[0] for word in WORDS), said[0]
    assert _files(company) == before, "something was written outside the home"
    nothing_half_written(company)
    return said[0]


def nothing_half_written(company: Company) -> None:
    parts = list(company.home.rglob("*.part"))
    assert all(path.is_dir() for path in parts), parts
    assert not [path for path in parts if path.with_suffix("").exists()], parts
    assert not registered(company)
    assert not (company.home / "runs" / REQUEST / "register").exists()


def registered(company: Company) -> list[str]:
    """Names of the models in the company's registry; training alone leaves a run there and no model."""
    database = company.home / "mlflow" / "mlflow.db"
    if not database.exists():
        return []
    with closing(sqlite3.connect(database)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM registered_models")]

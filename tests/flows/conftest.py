"""A tiny company per test, Prefect without a word on the terminal, and an evaluator that needs no process of its own.

The evaluator's own process is tested by whoever starts the command as a process, and in test_assess.py; everywhere else
it would only cost the time to import torch once more. A run that has ended is made once for all tests of a process.
"""

import io
import logging
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.flows.canary import EndedRun, canary_company
from tests.flows.company import Company, found


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> Path:
    company = found(tmp_path_factory.mktemp("template"))
    (company.home / "mlflow").mkdir(parents=True)
    shutil.copy(mlflow_tables, company.home / "mlflow")
    return company.root


@pytest.fixture
def company(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """A company in the working folder, from a copy of the template."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    for file in ("request.yaml", "config.yaml"):
        path = tmp_path / file
        path.write_text(path.read_text().replace(str(template), str(tmp_path)))
    return Company(tmp_path)


@pytest.fixture(scope="session")
def prefect_says_nothing(prefect_env: None) -> Iterator[None]:
    """The command sets this before it imports Prefect; here Prefect may have been imported by another test."""
    from prefect.logging.handlers import PrefectConsoleHandler
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    import flows.erase  # noqa: F401 - sets up Prefect's logging

    handlers = [h for h in logging.getLogger().handlers if isinstance(h, PrefectConsoleHandler)]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL)
    # A flow's last second goes into ending its heartbeat.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _evaluate_here(patch: pytest.MonkeyPatch) -> None:
    import tasks.evaluator

    def here(asked: tasks.evaluator.Assessment) -> None:
        from flows.assess import assess

        assess(asked.request_id, asked.home, asked.refusal)

    patch.setattr(tasks.evaluator, "_own_process", here)


@pytest.fixture(autouse=True)
def _evaluator_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "prefect_env" in request.fixturenames and "evaluator_apart" not in request.fixturenames:
        _evaluate_here(monkeypatch)


@pytest.fixture
def evaluator_apart(prefect_env: None) -> None:
    """The evaluator in a process of its own, as in production."""


@pytest.fixture
def quick(company: Company) -> Company:
    """A company whose runs do no more than they must."""
    company.hurry()
    return company


@pytest.fixture(scope="session")
def ended_run(prefect_says_nothing: None, tmp_path_factory: pytest.TempPathFactory) -> EndedRun:
    """One run by the command, in a home that was empty."""
    from flows.cli import run

    company = canary_company(tmp_path_factory.mktemp("ended"))
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        _evaluate_here(patch)
        assert run(company.arguments("--json")) == 0
    home = tmp_path_factory.mktemp("ended-home") / "home"
    shutil.copytree(company.home, home)
    return EndedRun(company, home, said.getvalue())


@pytest.fixture
def ended(ended_run: EndedRun, tmp_path: Path) -> Company:
    """A copy of what the run left, elsewhere: to be looked at, spoiled or purged, not to be run again."""
    shutil.copytree(ended_run.home, tmp_path / "home")
    for name in ("request.yaml", "config.yaml", "policy.yaml"):
        shutil.copy(ended_run.company.root / name, tmp_path)
    return Company(tmp_path)


@pytest.fixture
def resting(ended_run: EndedRun) -> Company:
    """The company where its run ended, as it was then but for MLflow's open database: to be run again."""
    company = ended_run.company
    for path in company.home.iterdir():
        if path.name != "mlflow":
            shutil.rmtree(path)
    shutil.copytree(ended_run.home, company.home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mlflow"))
    return company

"""A tiny company per test, Prefect without a word on the terminal, and an evaluator that needs no process of its own.

The evaluator's own process is tested by whoever starts the command as a process, and in test_assess.py; everywhere else
it would only cost the time to import torch once more.
"""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.company import Company, found


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return found(tmp_path_factory.mktemp("template")).root


@pytest.fixture
def company(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """A company in the working folder, from a copy of the template."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    for file in ("request.yaml", "config.yaml"):
        path = tmp_path / file
        path.write_text(path.read_text().replace(str(template), str(tmp_path)))
    return Company(tmp_path)


@pytest.fixture
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


@pytest.fixture(autouse=True)
def _evaluator_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "prefect_env" not in request.fixturenames or "evaluator_apart" in request.fixturenames:
        return
    import tasks.evaluator

    def here(asked: tasks.evaluator.Assessment) -> None:
        from flows.assess import assess

        assess(asked.request_id, asked.home, asked.refusal)

    monkeypatch.setattr(tasks.evaluator, "_own_process", here)


@pytest.fixture
def evaluator_apart(prefect_env: None) -> None:
    """The evaluator in a process of its own, as in production."""


@pytest.fixture
def quick(company: Company) -> Company:
    """A company whose runs do no more than they must."""
    company.set_config(
        attribution={"backends": ["bm25"]},
        utility={},
        evaluation={"bootstrap": 100, "max_new_tokens": 1},
    )
    return company

"""Every test runs silent, offline, seeded and under a home of its own; those that need Prefect share one server."""

import gc
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from flows.environment import DEFAULTS, SILENT
from tests.servers import PrefectServer, prefect_server

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
STEADY = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
SCRATCH = pytest.StashKey[Path]()
FLOWS = Path(__file__).parent / "flows"


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before prefect, torch and transformers read it; nothing goes to the user's own folders."""
    scratch = Path(tempfile.mkdtemp(prefix="lethe-tests-"))
    config.stash[SCRATCH] = scratch
    os.environ.update({**DEFAULTS, **SILENT, **OFFLINE})
    os.environ.update({"PREFECT_HOME": str(scratch / "prefect"), "HF_HOME": str(scratch / "hf")})
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # each test's own home then holds its tracking store
    # a property is not false because the machine was busy
    hypothesis.settings.register_profile("lethe", deadline=None)
    hypothesis.settings.load_profile("lethe")
    for name, value in STEADY.items():
        os.environ.setdefault(name, value)
    _keep_captured_streams_open()


def _keep_captured_streams_open() -> None:
    """Absl's log handler keeps the stderr of the moment it is imported, and closes it when logging is configured anew.

    That moment's stderr may be pytest's own capture; the process's real one is never closed.
    """
    from absl import logging as absl_logging

    absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.hookimpl(trylast=True)  # after they were shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs first: two processes share the files, and the last file is to be a short one."""
    items.sort(key=lambda item: not item.path.is_relative_to(FLOWS))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take away what the tests' libraries wrote beside the tests' own folders."""
    shutil.rmtree(config.stash[SCRATCH], ignore_errors=True)


@pytest.fixture(autouse=True)
def _own_home_and_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "lethe"))
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _what_is_there_stays() -> None:
    """Every training ends by collecting garbage: let it not look through a million objects of the libraries for it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def prefect_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Flows and tasks called in this process run against a server and a result storage of their own."""
    from prefect.settings import PREFECT_RESULTS_LOCAL_STORAGE_PATH, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # the harness isolates the database only: without this a result of another run would be found
    with (
        temporary_settings({PREFECT_RESULTS_LOCAL_STORAGE_PATH: tmp_path_factory.mktemp("results")}),
        prefect_test_harness(server_startup_timeout=120),
    ):
        yield


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has its tables and nothing in them: MLflow takes seconds to make one."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("tables") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A real Prefect server in a process of its own, as an operator would start it."""
    with prefect_server(tmp_path_factory.mktemp("server")) as server:
        yield server

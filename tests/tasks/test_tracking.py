"""Where MLflow is, and what becomes of a run while it does not answer."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pipelines.errors import Unavailable
from pipelines.home import Home
from tasks.registry import ALIAS, Registration, register_version
from tasks.tracking import EXPERIMENT, public_address, tracking
from tests.servers import free_port, wait_until


def test_a_server_that_does_not_answer_is_unavailable_and_its_password_untold(
    registration: Registration, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:hunter2@127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Unavailable, match=r"MLflow at http://127\.0\.0\.1:\d+ did not answer") as raised:
        register_version(registration, home=mlflow_home)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:////data/lethe/mlflow.db", "sqlite:////data/lethe/mlflow.db"),
        ("https://user:hunter2@mlflow.example:5000/x?token=hunter2", "https://mlflow.example:5000/x"),
        ("postgresql://user:hunter2@db@db.example/mlflow?password=hunter2", "postgresql://db.example/mlflow"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(uri: str, shown: str) -> None:
    assert public_address(uri) == shown


@pytest.mark.parametrize("code", ["TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"])
def test_a_locked_or_full_database_is_unavailable(code: str, mlflow_home: Home) -> None:
    """MLflow turns SQLite's OperationalError into the first after its own retries."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos import databricks_pb2

    with pytest.raises(Unavailable, match=r"mlflow\.db did not answer"), tracking(mlflow_home):
        raise MlflowException("database is locked", error_code=getattr(databricks_pb2, code))


def test_an_error_of_our_own_making_is_not_retried(mlflow_home: Home) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException), tracking(mlflow_home):
        raise MlflowException("a defect", error_code=1)
    with pytest.raises(KeyError), tracking(mlflow_home):
        raise KeyError("a defect")


def test_the_experiment_is_one(mlflow_home: Home) -> None:
    with tracking(mlflow_home) as first, tracking(mlflow_home) as again:
        assert again.experiment_id == first.experiment_id
        assert first.client.get_experiment(first.experiment_id).name == EXPERIMENT


@pytest.mark.slow
def test_a_server_takes_the_same_way_as_a_file(
    registration: Registration, mlflow_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow_server(tmp_path / "server") as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        first = register_version(registration, home=mlflow_home)
        assert register_version(registration, home=mlflow_home) == first
        assert (first.version, first.tracking_uri) == ("1", uri)
        with tracking(mlflow_home) as mlflow:
            assert str(mlflow.client.get_model_version_by_alias("lethe", ALIAS).version) == "1"
    assert not (mlflow_home.root / "mlflow" / "artifacts").exists()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Unavailable):
        register_version(registration, home=mlflow_home)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """A tracking server of its own on loopback, gone when the block ends."""
    folder.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(
            [*command, *stores], cwd=folder, env=environment, stdout=log, stderr=log, process_group=0
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(uri), seconds=120, what=uri)
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(uri: str) -> bool:
    try:
        return httpx.get(f"{uri}/health", timeout=5).is_success
    except httpx.TransportError:
        return False

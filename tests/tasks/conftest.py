"""A home with an empty MLflow in it, and something to register."""

import shutil
from pathlib import Path

import pytest

from pipelines.home import Home
from tasks.registry import Registration
from tests.tasks.registrations import registered_as
from tests.tiny import save_tiny


@pytest.fixture
def mlflow_home(tmp_path: Path, mlflow_tables: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    home = Home.at(tmp_path / "home")
    shutil.copyfile(mlflow_tables, home.room("mlflow") / "mlflow.db")
    return home


@pytest.fixture
def registration(tmp_path: Path, mlflow_home: Home) -> Registration:
    return registered_as("REQ-2026-0001", folder=save_tiny(tmp_path / "model"), home=mlflow_home)

"""A real MLflow on SQLite, the tiny model, and every kill between a certificate and a version."""

import json
import os
from pathlib import Path

import pytest

from pipelines.audit.manifest import folder_digest
from pipelines.errors import VerificationFailed
from pipelines.home import Home
from tasks.registry import ALIAS, Registration, register_version
from tasks.tracking import tracking
from tests.tasks.registrations import FORGET, RETAIN, nothing_registered, registered_as, stored_folder
from tests.tiny import save_tiny


def test_a_version_carries_the_alias_the_bytes_and_the_lineage(registration: Registration, mlflow_home: Home) -> None:
    made = register_version(registration, home=mlflow_home)
    assert (made.name, made.version, made.alias) == ("lethe", "1", ALIAS)
    assert made.model_digest == registration.candidate.model.digest
    assert folder_digest(stored_folder(mlflow_home) / "artifacts" / "model") == made.model_digest
    with tracking(mlflow_home) as mlflow:
        version = mlflow.client.get_model_version_by_alias("lethe", ALIAS)
    assert (str(version.version), version.run_id) == ("1", made.run_id)
    assert version.tags["lethe.candidate_digest"] == made.model_digest
    assert version.tags["lethe.parent_digest"] == "d4" * 32
    assert version.tags["lethe.certificate_digest"] == registration.certificate_digest
    for digest in ("d4" * 32, made.model_digest, FORGET.commitment, RETAIN.commitment):
        assert digest in str(version.description)


def test_the_run_shows_every_number_setting_and_sealed_set(registration: Registration, mlflow_home: Home) -> None:
    made = register_version(registration, home=mlflow_home)
    with tracking(mlflow_home) as mlflow:
        run = mlflow.client.get_run(made.run_id)
        artifacts = [entry.path for entry in mlflow.client.list_artifacts(made.run_id)]
    assert run.info.status == "FINISHED"
    settings = {"method": "npo", "params.beta": "0.1", "training.epochs": "2"}
    assert run.data.params == {**settings, "home": "", "accept": "champion"}, "the last two are the served model's"
    assert run.data.metrics == {
        "start/forget/extraction_strength": 0.95,
        "start/forget/extraction_strength.low": pytest.approx(0.94),
        "start/forget/extraction_strength.high": pytest.approx(0.96),
        "candidate/forget/extraction_strength": 0.05,
        "candidate/forget/extraction_strength.low": pytest.approx(0.04),
        "candidate/forget/extraction_strength.high": pytest.approx(0.06),
    }
    assert artifacts == ["certificate.json"]
    assert run.inputs is not None
    shown = {entry.dataset.name: entry.dataset for entry in run.inputs.dataset_inputs}
    assert set(shown) == {"forget", "retain"}
    assert json.loads(shown["forget"].source)["tags"] == {"commitment": FORGET.commitment, "count": "3"}
    assert FORGET.commitment.startswith(shown["forget"].digest)


def test_calling_again_makes_nothing_new(registration: Registration, mlflow_home: Home) -> None:
    first = register_version(registration, home=mlflow_home)
    assert register_version(registration, home=mlflow_home) == first
    with tracking(mlflow_home) as mlflow:
        assert len(mlflow.client.search_runs([mlflow.experiment_id])) == 1
        assert len(mlflow.client.search_logged_models([mlflow.experiment_id])) == 1
        assert len(mlflow.client.search_model_versions("name = 'lethe'")) == 1
        history = mlflow.client.get_metric_history(first.run_id, "candidate/forget/extraction_strength")
    assert len(history) == 1


@pytest.mark.parametrize(
    "killed_in",
    [
        "tasks.registry.stored_model",
        "tasks.registry.check_stored",
        "tasks.registry._version",
        "tasks.registry._propose",
    ],
)
def test_what_was_killed_goes_on_where_it_stopped(
    killed_in: str, registration: Registration, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(killed_in, killed)
        with pytest.raises(KeyboardInterrupt):
            register_version(registration, home=mlflow_home)
    made = register_version(registration, home=mlflow_home)
    with tracking(mlflow_home) as mlflow:
        [version] = mlflow.client.search_model_versions("name = 'lethe'")
        assert mlflow.client.get_model_version_by_alias("lethe", ALIAS).version == version.version
        assert len(mlflow.client.search_runs([mlflow.experiment_id])) == 1
        assert len(mlflow.client.search_logged_models([mlflow.experiment_id])) == 1
    assert made.version == "1"


def test_a_copy_that_was_cut_short_is_stored_again(
    registration: Registration, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("mlflow.tracking.MlflowClient.log_model_artifacts", cut_short)
        with pytest.raises(OSError, match="No space"):
            register_version(registration, home=mlflow_home)
    assert register_version(registration, home=mlflow_home).version == "1"


def test_a_newer_version_keeps_the_alias_when_an_older_run_is_called_again(
    registration: Registration, mlflow_home: Home, tmp_path: Path
) -> None:
    register_version(registration, home=mlflow_home)
    newer = registered_as("REQ-2026-0002", folder=save_tiny(tmp_path / "newer", seed=1), home=mlflow_home)
    assert register_version(newer, home=mlflow_home).version == "2"
    register_version(registration, home=mlflow_home)
    with tracking(mlflow_home) as mlflow:
        assert str(mlflow.client.get_model_version_by_alias("lethe", ALIAS).version) == "2"


def test_another_certificate_for_the_same_model_is_another_version(
    registration: Registration, mlflow_home: Home
) -> None:
    register_version(registration, home=mlflow_home)
    again = registration.model_copy(update={"certificate_digest": "99" * 32})
    assert register_version(again, home=mlflow_home).version == "2"


def test_a_candidate_that_changed_after_it_was_certified_is_refused(
    registration: Registration, mlflow_home: Home
) -> None:
    with (Path(registration.candidate.model.path) / "config.json").open("a") as stream:
        stream.write(" ")
    with pytest.raises(VerificationFailed, match="not the certified model"):
        register_version(registration, home=mlflow_home)
    assert nothing_registered(mlflow_home)


def test_the_environment_is_left_as_it_was_and_nothing_lands_beside_the_home(
    registration: Registration, mlflow_home: Home, tmp_path: Path
) -> None:
    before = dict(os.environ)
    register_version(registration, home=mlflow_home)
    assert dict(os.environ) == before
    assert {path.name for path in tmp_path.iterdir()} == {"home"}

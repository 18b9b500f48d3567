"""A real MLflow on SQLite, the tiny model, and everything that may go wrong between a certificate and a version."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pipelines.audit.manifest import folder_digest
from pipelines.errors import Unavailable, VerificationFailed
from pipelines.home import Home
from pipelines.records import Candidate, Evaluation, Measurement, ModelRef, SealedSet
from tasks.registry import ALIAS, Registration, register_version
from tasks.tracking import EXPERIMENT, Tracking, public_address, tracking
from tests.servers import free_port, wait_until
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer

FORGET = SealedSet(role="forget", commitment="a1" * 32, count=3)
RETAIN = SealedSet(role="retain", commitment="b2" * 32, count=40)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has its tables and nothing in them: MLflow takes seconds to make one."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("tables") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def home(tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    home = Home.at(tmp_path / "home")
    shutil.copyfile(tables, home.room("mlflow") / "mlflow.db")
    return home


@pytest.fixture
def mlflow(home: Home) -> Iterator[Tracking]:
    with tracking(home) as opened:
        yield opened


@pytest.fixture
def registration(tmp_path: Path) -> Registration:
    return registered_as("REQ-2026-0001", folder=save_tiny(tmp_path / "model"))


def registered_as(request_id: str, *, folder: Path, certificate: str = "c3") -> Registration:
    path = folder.with_name("certificate.json")
    path.write_text("{}")
    digest = folder_digest(folder)
    made = Candidate(
        model=ModelRef(path=str(folder), digest=digest),
        parent_digest="d4" * 32,
        method="npo",
        method_version="1",
        params_digest="e5" * 32,
        steps=10,
        epochs=2,
        stop_reason="epochs",
    )
    return Registration(
        request_id=request_id,
        name="lethe",
        candidate=made,
        forget=FORGET,
        retain=RETAIN,
        evaluations=(
            Evaluation(role="start", model_digest="d4" * 32, measurements=(measured("extraction_strength", 0.95),)),
            Evaluation(
                role="candidate",
                model_digest=digest,
                measurements=(measured("extraction_strength", 0.05), measured("truth_ratio", None)),
            ),
        ),
        settings={"method": "npo", "params.beta": 0.1, "training.epochs": 2},
        config_digest="f6" * 32,
        policy_digest="07" * 32,
        certificate_path=str(path),
        certificate_digest=certificate * 32,
    )


def measured(metric: str, value: float | None) -> Measurement:
    return Measurement(
        metric=metric,
        version="1",
        split="forget",
        value=value,
        low=None if value is None else value - 0.01,
        high=None if value is None else value + 0.01,
        n_scored=0 if value is None else 3,
        n_expected=3,
        items_digest="18" * 32,
    )


def stored_folder(home: Home) -> Path:
    [folder] = (home.root / "mlflow" / "artifacts" / "models").iterdir()
    return folder / "artifacts"


def test_a_version_carries_the_alias_the_bytes_and_the_lineage(registration: Registration, home: Home) -> None:
    made = register_version(registration, home=home)
    assert (made.name, made.version, made.alias) == ("lethe", "1", ALIAS)
    assert made.model_digest == registration.candidate.model.digest
    assert folder_digest(stored_folder(home) / "artifacts" / "model") == made.model_digest
    with tracking(home) as mlflow:
        version = mlflow.client.get_model_version_by_alias("lethe", ALIAS)
    assert (str(version.version), version.run_id) == ("1", made.run_id)
    assert version.tags["lethe.candidate_digest"] == made.model_digest
    assert version.tags["lethe.parent_digest"] == "d4" * 32
    assert version.tags["lethe.certificate_digest"] == "c3" * 32
    for digest in ("d4" * 32, made.model_digest, FORGET.commitment, RETAIN.commitment):
        assert digest in str(version.description)


def test_the_run_shows_every_number_setting_and_sealed_set(registration: Registration, home: Home) -> None:
    made = register_version(registration, home=home)
    with tracking(home) as mlflow:
        run = mlflow.client.get_run(made.run_id)
        artifacts = [entry.path for entry in mlflow.client.list_artifacts(made.run_id)]
    assert run.info.status == "FINISHED"
    assert run.data.params == {"method": "npo", "params.beta": "0.1", "training.epochs": "2"}
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


def test_calling_again_makes_nothing_new(registration: Registration, home: Home) -> None:
    first = register_version(registration, home=home)
    assert register_version(registration, home=home) == first
    with tracking(home) as mlflow:
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
    killed_in: str, registration: Registration, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(killed_in, killed)
        with pytest.raises(KeyboardInterrupt):
            register_version(registration, home=home)
    made = register_version(registration, home=home)
    with tracking(home) as mlflow:
        [version] = mlflow.client.search_model_versions("name = 'lethe'")
        assert mlflow.client.get_model_version_by_alias("lethe", ALIAS).version == version.version
        assert len(mlflow.client.search_runs([mlflow.experiment_id])) == 1
        assert len(mlflow.client.search_logged_models([mlflow.experiment_id])) == 1
    assert made.version == "1"


def test_a_copy_that_was_cut_short_is_stored_again(
    registration: Registration, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("mlflow.tracking.MlflowClient.log_model_artifacts", cut_short)
        with pytest.raises(OSError, match="No space"):
            register_version(registration, home=home)
    assert register_version(registration, home=home).version == "1"


def test_a_newer_version_keeps_the_alias_when_an_older_run_is_called_again(
    registration: Registration, home: Home, tmp_path: Path
) -> None:
    register_version(registration, home=home)
    (tmp_path / "other").mkdir()
    newer = registered_as("REQ-2026-0002", folder=save_tiny(tmp_path / "other" / "model", seed=1))
    assert register_version(newer, home=home).version == "2"
    register_version(registration, home=home)
    with tracking(home) as mlflow:
        assert str(mlflow.client.get_model_version_by_alias("lethe", ALIAS).version) == "2"


def test_another_certificate_for_the_same_model_is_another_version(registration: Registration, home: Home) -> None:
    register_version(registration, home=home)
    again = registration.model_copy(update={"certificate_digest": "99" * 32})
    assert register_version(again, home=home).version == "2"


def test_a_candidate_that_changed_after_it_was_certified_is_refused(registration: Registration, home: Home) -> None:
    with (Path(registration.candidate.model.path) / "config.json").open("a") as stream:
        stream.write(" ")
    with pytest.raises(VerificationFailed, match="not the certified model"):
        register_version(registration, home=home)
    assert nothing_registered(home)


def nothing_registered(home: Home) -> bool:
    with tracking(home) as mlflow:
        return not mlflow.client.search_model_versions("name = 'lethe'")


def flip_weight(artifacts: Path) -> None:
    path = artifacts / "artifacts" / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def drop_weights(artifacts: Path) -> None:
    shutil.rmtree(artifacts / "artifacts" / "model")


def add_code(artifacts: Path) -> None:
    (artifacts / "sitecustomize.py").write_text("")


def swap_loader(artifacts: Path) -> None:
    with (artifacts / "served_model.py").open("a") as stream:
        stream.write("\n")


def edit_tokenizer(artifacts: Path) -> None:
    """No logit changes with it, every served answer may."""
    with (artifacts / "artifacts" / "model" / "tokenizer_config.json").open("a") as stream:
        stream.write(" ")


def redirect(artifacts: Path) -> None:
    """The certified folder stays as it is; what is loaded is a copy beside it with another tokenizer."""
    shutil.copytree(artifacts / "artifacts" / "model", artifacts / "artifacts" / "other")
    with (artifacts / "artifacts" / "other" / "tokenizer_config.json").open("a") as stream:
        stream.write(" ")
    path = artifacts / "MLmodel"
    path.write_text(path.read_text().replace("artifacts/model", "artifacts/other"))


@pytest.mark.parametrize("alter", [flip_weight, drop_weights, add_code, swap_loader, edit_tokenizer, redirect])
def test_a_store_that_gives_something_else_back_is_refused(
    alter: object, registration: Registration, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored_then_altered(*args: object, **kwargs: object) -> str:
        from tasks import stored_model

        model_id = stored_model.stored_model(*args, **kwargs)  # type: ignore[arg-type]
        alter(stored_folder(home))  # type: ignore[operator]
        return model_id

    monkeypatch.setattr("tasks.registry.stored_model", stored_then_altered)
    with pytest.raises(VerificationFailed):
        register_version(registration, home=home)
    assert nothing_registered(home)


def test_a_model_that_loads_as_another_is_refused(
    registration: Registration, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right bytes are not enough: a loader may leave weights out and initialise them anew."""
    from pipelines import models

    def reinitialised(*_: object, **__: object) -> models.LoadedModel:
        loaded = models.LoadedModel.__new__(models.LoadedModel)
        object.__setattr__(loaded, "model", tiny_model(seed=5))
        return loaded

    monkeypatch.setattr(models, "load_model", reinitialised)
    with pytest.raises(VerificationFailed, match="answers differently"):
        register_version(registration, home=home)
    assert nothing_registered(home)


def test_the_served_model_completes_like_the_candidate_and_needs_no_pickle(
    registration: Registration, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = register_version(registration, home=home)
    from mlflow.pyfunc import load_model  # its first import warns, and registering has let that pass

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.tracking_uri)
    served = load_model(f"models:/lethe@{ALIAS}")
    prompts = ["Where was Writer 1 born?", "Who?"]
    completed = served.predict(prompts, params={"max_new_tokens": 5})
    assert completed == [greedy(prompt, tokens=5) for prompt in prompts]
    assert list(served.predict(prompts)) == [greedy(prompt, tokens=64) for prompt in prompts]
    names = [path.name for path in home.root.rglob("*") if path.is_file()]
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".bin", ".joblib"))]


def greedy(prompt: str, *, tokens: int) -> str:
    """The slow way: the whole row again for every token."""
    import torch

    model, tokenizer = tiny_model(), tiny_tokenizer()
    ids: list[int] = tokenizer.encode(prompt)
    start = len(ids)
    for _ in range(tokens):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return str(tokenizer.decode(ids[start:], skip_special_tokens=True))


def test_requirements_are_named_and_installable(registration: Registration, home: Home) -> None:
    register_version(registration, home=home)
    lines = (stored_folder(home) / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in lines} >= {"mlflow", "torch", "transformers", "safetensors"}
    assert all("==" in line and "+" not in line for line in lines)


def test_a_server_that_does_not_answer_is_unavailable_and_its_password_untold(
    registration: Registration, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:hunter2@127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Unavailable, match=r"MLflow at http://127\.0\.0\.1:\d+ did not answer") as raised:
        register_version(registration, home=home)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:////srv/lethe/mlflow.db", "sqlite:////srv/lethe/mlflow.db"),
        ("https://user:hunter2@mlflow.example:5000/x?token=hunter2", "https://mlflow.example:5000/x"),
        ("postgresql://user:hunter2@db@db.example/mlflow?password=hunter2", "postgresql://db.example/mlflow"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(uri: str, shown: str) -> None:
    assert public_address(uri) == shown


@pytest.mark.parametrize("code", ["TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"])
def test_a_locked_or_full_database_is_unavailable(code: str, home: Home) -> None:
    """MLflow turns SQLite's OperationalError into the first after its own retries."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos import databricks_pb2

    with pytest.raises(Unavailable, match=r"mlflow\.db did not answer"), tracking(home):
        raise MlflowException("database is locked", error_code=getattr(databricks_pb2, code))


def test_an_error_of_our_own_making_is_not_retried(home: Home) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException), tracking(home):
        raise MlflowException("a defect", error_code=1)
    with pytest.raises(KeyError), tracking(home):
        raise KeyError("a defect")


def test_the_environment_is_left_as_it_was_and_nothing_lands_beside_the_home(
    registration: Registration, home: Home, tmp_path: Path
) -> None:
    before = dict(os.environ)
    register_version(registration, home=home)
    assert dict(os.environ) == before
    assert {path.name for path in tmp_path.iterdir()} == {"home", "model", "certificate.json"}


def test_the_experiment_is_one(home: Home, mlflow: Tracking) -> None:
    with tracking(home) as again:
        assert again.experiment_id == mlflow.experiment_id
    assert mlflow.client.get_experiment(mlflow.experiment_id).name == EXPERIMENT


@pytest.mark.slow
def test_a_server_takes_the_same_way_as_a_file(
    registration: Registration, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow_server(tmp_path / "server") as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        first = register_version(registration, home=home)
        assert register_version(registration, home=home) == first
        assert (first.version, first.tracking_uri) == ("1", uri)
        with tracking(home) as mlflow:
            assert str(mlflow.client.get_model_version_by_alias("lethe", ALIAS).version) == "1"
    assert not (home.root / "mlflow" / "artifacts").exists()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Unavailable):
        register_version(registration, home=home)


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

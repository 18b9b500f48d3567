"""The life of registered versions by the command line, with a real MLflow, a real Prefect and real models."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker

from flows.cli import run
from pipelines.errors import VerificationFailed
from pipelines.home import Home
from pipelines.provenance import ROOT
from tasks.champion import load_champion
from tasks.model_registry import CHAMPION, MlflowRegistry
from tasks.tracking import tracking
from tests.flows.company import REQUEST, Company
from tests.tasks.conftest import mlflow_home  # noqa: F401 - fixture
from tests.tasks.registrations import promotable, stored_folder
from tests.tiny import save_tiny

FIRST, SECOND = "REQ-2026-0001", "REQ-2026-0002"
NAME = ("--name", "Grace Example")


@pytest.fixture
def home(mlflow_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:  # noqa: F811
    """One version, registered and not approved."""
    monkeypatch.setenv("LETHE_HOME", str(mlflow_home.root))
    promotable(FIRST, folder=save_tiny(tmp_path / "first"), home=mlflow_home)
    return mlflow_home


@pytest.fixture
def events_kept(prefect_env: None) -> Iterator[None]:
    """Events go to a client that keeps them, not to the server."""
    AssertingEventsClient.reset()
    EventsWorker.set_client_override(AssertingEventsClient)
    yield
    EventsWorker._client_override = None


def champion(home: Home) -> str | None:
    with tracking(home) as mlflow:
        return MlflowRegistry(mlflow).alias("lethe", CHAMPION)


def point(home: Home, version: str) -> None:
    with tracking(home) as mlflow:
        MlflowRegistry(mlflow).point("lethe", CHAMPION, version)


def served(home: Home) -> object:
    """What MLflow's own loader gives, with nothing of ours beside it but the stored model's own checks."""
    from mlflow.pyfunc import load_model

    with tracking(home):
        return load_model(f"models:/lethe@{CHAMPION}")


@pytest.mark.usefixtures("prefect_says_nothing")
def test_the_life_of_two_versions(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["promote", FIRST]) == 3
    assert "nobody has approved it" in capsys.readouterr().err
    with pytest.raises(VerificationFailed, match="none"):
        load_champion("lethe", home=home.root, device="cpu")

    assert run(["approve", FIRST, *NAME, "--yes"]) == 0
    page = capsys.readouterr().out
    for shown in ("promote", "lethe 1", "gdpr_art_17", "extraction_strength", "relearning", "one attack strength"):
        assert shown in page
    assert "Writer" not in page
    assert run(["promote", FIRST, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["version"], done["replaces"], done["changed"]) == ("1", None, True)
    assert run(["promote", FIRST]) == 0
    assert "champion already" in capsys.readouterr().out
    assert load_champion("lethe", home=home.root, device="cpu").ref.digest == done["candidate"]
    assert served(home) is not None

    promotable(SECOND, folder=save_tiny(tmp_path / "second", seed=1), home=home)
    assert run(["approve", SECOND, *NAME, "--yes", "--json"]) == 0
    signed = json.loads(capsys.readouterr().out)
    assert signed["page"]["version"] == {"model": "lethe", "version": "2", "replaces": "1", "undoes": []}
    assert run(["promote", SECOND, "--approval", signed["approval"]["path"]]) == 0
    assert champion(home) == "2"
    assert run(["watch"]) == 0
    assert load_champion("lethe", home=home.root, device="cpu").ref.digest != done["candidate"]

    assert run(["rollback", "--reason", "quality_regression"]) == 4
    assert run(["approve", FIRST, *NAME, "--yes"]) == 0
    assert "UNDOES" in capsys.readouterr().out
    assert run(["rollback", "--reason", "quality_regression"]) == 0
    assert champion(home) == "1"
    assert run(["watch", "--json"]) == 0
    assert (
        run(["verify", str(home.root / "runs" / FIRST / "certify" / "certificate.json"), "--home", str(home.root)]) == 0
    )


@pytest.mark.usefixtures("prefect_says_nothing")
def test_drift_is_an_event_a_line_and_code_four(
    home: Home, events_kept: None, capsys: pytest.CaptureFixture[str]
) -> None:
    point(home, "1")
    assert run(["watch"]) == 4
    EventsWorker.drain_all()
    events = [event for client in AssertingEventsClient.all for event in client.events]
    shown = capsys.readouterr()
    assert shown.err == "lethe: lethe: alias moved: alias champion points to version 1, by the log it is none\n"
    [event] = [event for event in events if event.event == "lethe.model.drift"]
    assert event.resource.id == "lethe.model.lethe"
    assert event.payload == {"findings": ["alias moved: alias champion points to version 1, by the log it is none"]}
    with pytest.raises(VerificationFailed, match="not the champion"):
        served(home)
    with pytest.raises(VerificationFailed, match="the log's champion is none"):
        load_champion("lethe", home=home.root, device="cpu")


@pytest.mark.usefixtures("prefect_says_nothing")
def test_an_altered_champion_is_found_and_not_served(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["approve", FIRST, *NAME, "--yes"]) == 0
    assert run(["promote", FIRST]) == 0
    weights = stored_folder(home) / "artifacts" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert run(["watch"]) == 4
    assert "altered or revoked" in capsys.readouterr().err
    with pytest.raises(VerificationFailed, match="not certified"):
        served(home)
    with pytest.raises(VerificationFailed, match="not certified"):
        load_champion("lethe", home=home.root, device="cpu")


def test_declining_signs_nothing(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert run(["approve", FIRST, *NAME]) == 3
    assert "nothing was signed" in capsys.readouterr().err
    assert not list((home.root / "approvals").glob("*.json"))


def test_the_requester_is_refused_with_code_three(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["approve", FIRST, "--name", "ada@example.org", "--yes", "--json"]) == 3
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "ada" not in (shown.out + shown.err).lower().replace("candidate", "")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_says_nothing")
def test_from_a_request_to_the_champion_and_past_a_purge(quick: Company, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(quick.arguments()) == 0
    at = ("--home", str(quick.home))
    assert run(["approve", REQUEST, *NAME, "--yes", *at]) == 0
    assert run(["promote", REQUEST, *at]) == 0
    assert run(["watch", *at]) == 0
    loaded = load_champion("tiny", home=quick.home, device="cpu")
    assert run(["purge", REQUEST, *at]) == 0, capsys.readouterr().out
    assert run(["watch", *at]) == 0
    assert load_champion("tiny", home=quick.home, device="cpu").ref == loaded.ref


@pytest.mark.parametrize(
    "at", [pytest.param(at, marks=() if at == "outcome" else pytest.mark.slow) for at in ("intent", "alias", "outcome")]
)
def test_sigkill_in_a_promotion_is_finished_by_the_next(
    at: str, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["approve", FIRST, *NAME, "--yes"]) == 0
    assert _killed(at, home, tmp_path) == -signal.SIGKILL
    assert _killed("-", home, tmp_path) == 0
    assert champion(home) == "1"
    entries = [json.loads(raw)["entry"]["kind"] for raw in (home.log / "entries.jsonl").read_bytes().splitlines()]
    assert (entries.count("promotion_intent"), entries.count("promotion_outcome")) == (1, 1)


def _killed(at: str, home: Home, tmp_path: Path) -> int:
    command = [sys.executable, "-W", "ignore", "-m", "tests.flows.killed_promotion", at, FIRST, str(home.root)]
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(command, cwd=ROOT, stdout=err, stderr=err, process_group=0)
        try:
            return process.wait(120)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

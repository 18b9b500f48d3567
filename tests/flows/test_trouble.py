"""What goes wrong while a run is at work: a loss that is no number, a full disk, an MLflow that is away.

The run is refused, or it waits and goes on where it was.
"""

import errno
import json
import re
import socket
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from flows.cli import run
from tests.flows.company import REQUEST, Company
from tests.flows.refusal import nothing_half_written, refuses, registered
from tests.servers import free_port


@pytest.mark.usefixtures("prefect_says_nothing")
def test_a_loss_that_is_no_number_ends_in_a_signed_refusal(
    quick: Company, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is spoiled once, as soon as there is a checkpoint to keep."""
    import pipelines.training.loop
    from pipelines.training.objective import Terms, objective

    training = quick.home / "vault" / REQUEST / "steps" / "train.part"

    def spoiled(*arguments: object, **named: object) -> Terms:
        terms = objective(*arguments, **named)  # type: ignore[arg-type]
        return replace(terms, loss=terms.loss * float("nan")) if list(training.glob("checkpoint-*")) else terms

    monkeypatch.setattr(pipelines.training.loop, "objective", spoiled)
    assert run(quick.arguments("--json")) == 3
    shown = capsys.readouterr()
    outcome = json.loads(shown.out)
    assert outcome["status"] == "refused"
    [reason] = outcome["reasons"]
    assert re.fullmatch(r"training diverged: step \d+: the loss is nan; lower the learning rate", reason)
    assert outcome["candidate_digest"] is None
    assert outcome["version"] is None
    assert not registered(quick)
    [kept] = training.glob("checkpoint-*")
    assert (kept / "trained.safetensors").is_file(), "the last good checkpoint"
    assert run(["verify", outcome["certificate"], "--home", str(quick.home), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    nothing_half_written(quick)


@pytest.mark.usefixtures("prefect_says_nothing")
def test_a_full_disk_and_an_mlflow_that_is_away_stop_a_run_that_then_goes_on(
    quick: Company, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _disk_is_full(quick, capsys, monkeypatch)
    _mlflow_is_away(quick, capsys, monkeypatch)
    trained, certified = _mtime(quick, "train"), _mtime(quick, "certify")
    assert run(quick.arguments("--json")) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["status"], outcome["version"]["alias"]) == ("registered", "challenger")
    assert (_mtime(quick, "train"), _mtime(quick, "certify")) == (trained, certified), "done again"


def _disk_is_full(company: Company, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of training's checkpoints, then of the evaluator's scores."""
    import pipelines.training.checkpoints

    whole = {pipelines.training.checkpoints: "save_file", pq: "write_table"}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for module, name in whole.items():
        with monkeypatch.context() as disk:
            disk.setattr(module, name, full)
            assert "no space left on the device" in refuses(company, company.arguments("--json"), capsys)


def _mlflow_is_away(company: Company, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, and what was made before is kept."""
    import tasks.registry

    trained, tries = _mtime(company, "train"), []
    register_version = tasks.registry.register_version

    def counted(registration: tasks.registry.Registration, **home: object) -> object:
        tries.append(1)
        return register_version(registration, **home)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks.registry, "register_version", counted)
    monkeypatch.setattr(tasks.registry.register, "retry_delay_seconds", [0.0, 0.0, 0.0])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    address = f"http://127.0.0.1:{free_port()}"
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", address)
        said = refuses(company, company.arguments("--json"), capsys, code=1)
    assert f"MLflow at {address} did not answer" in said
    assert "run again to resume" in said
    assert len(tries) == 4, "one try and three more"
    assert _mtime(company, "train") == trained, "trained again after the disk was full"
    assert run(["status", REQUEST, "--json", "--home", str(company.home)]) == 0
    [state] = json.loads(capsys.readouterr().out)
    assert state["stage"] == "certify"
    assert "run it again" in state["status"]


def _mtime(company: Company, step: str) -> int:
    places = (company.home / "vault" / REQUEST / "steps" / step, company.home / "runs" / REQUEST / step)
    [folder] = [place for place in places if place.is_dir()]
    return (folder / "step.json").stat().st_mtime_ns


def test_free_port_is_closed() -> None:
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", free_port()))

"""Every step goes up to MLflow once, in batches, and a server that is away delays nothing and loses nothing."""

import logging

import pytest

from pipelines.home import Home
from pipelines.training.checkpoints import CurvePoint
from tasks import step_metrics
from tasks.step_metrics import StepMetrics, numbers_of
from tasks.tracking import tracking
from tests.servers import free_port

NAMES = {"loss", "forget_nll", "retain_nll", "active", "grad_norm", "learning_rate", "epoch"}


def _point(step: int) -> CurvePoint:
    return CurvePoint(
        step=step, epoch=1, loss=step / 10, forget_nll=1.0, retain_nll=2.0, active=4, grad_norm=0.5, learning_rate=1e-3
    )


def _shown(home: Home) -> dict[str, list[tuple[int, float]]]:
    """By metric, (step, value) of every point that MLflow holds of the one training run."""
    with tracking(home) as mlflow:
        (run,) = mlflow.client.search_runs([mlflow.experiment_id])
        assert run.data.tags["lethe.request"] == "REQ-1"
        return {
            name: [(point.step, point.value) for point in mlflow.client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }


def test_steps_go_up_in_batches_and_what_is_missing_at_the_end(
    mlflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three points live, five in the curve; a second completion adds nothing."""
    monkeypatch.setattr(step_metrics, "POINTS_PER_BATCH", 2)
    live = StepMetrics(home=mlflow_home, request_id="REQ-1", job="j")
    for step in (1, 2, 3):
        live(step, numbers_of(_point(step)))
    live.send()
    assert [step for step, _ in _shown(mlflow_home)["loss"]] == [1, 2, 3]
    curve = [_point(step) for step in range(1, 6)]
    assert live.complete(curve)
    assert StepMetrics(home=mlflow_home, request_id="REQ-1", job="j").complete(curve)
    shown = _shown(mlflow_home)
    assert shown.keys() == NAMES
    assert shown["loss"] == [(step, step / 10) for step in range(1, 6)]
    assert shown["grad_norm"] == [(step, 0.5) for step in range(1, 6)]


def test_another_job_is_another_run(mlflow_home: Home) -> None:
    for job in ("a", "b"):
        StepMetrics(home=mlflow_home, request_id="REQ-1", job=job).complete([_point(1)])
    with tracking(mlflow_home) as mlflow:
        assert len(mlflow.client.search_runs([mlflow.experiment_id])) == 2


def test_a_server_that_is_away_is_asked_once_and_told_later(
    mlflow_home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(step_metrics, "SPACING_S", 0.0)
    live = StepMetrics(home=mlflow_home, request_id="REQ-1", job="j")
    with monkeypatch.context() as away, caplog.at_level(logging.WARNING):
        away.setenv("MLFLOW_TRACKING_URI", f"http://user:hunter2@127.0.0.1:{free_port()}")
        away.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        for step in (1, 2, 3):
            live(step, numbers_of(_point(step)))
    assert [record.getMessage() for record in caplog.records] == ["steps are not shown in MLflow for now (Unavailable)"]
    assert live.complete([_point(step) for step in (1, 2, 3)])
    assert [step for step, _ in _shown(mlflow_home)["loss"]] == [1, 2, 3]

"""What training says of every step, in MLflow: losses, gradient norm, learning rate, active rows; no text, no row.

Training never waits for a server that is away and never fails because of one. Points go up in batches while it runs;
where MLflow does not answer they are kept, and :func:`complete` sends what is missing from the finished curve. Every
step goes up once, also when a run goes on after a kill: the MLflow run remembers the last step it was given.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipelines.home import Home
from pipelines.training.checkpoints import CurvePoint
from tasks.tracking import Tracking, tracking

logger = logging.getLogger("lethe")

SPACING_S = 10.0
"""Seconds between two batches."""

POINTS_PER_BATCH = 100
"""MLflow takes a thousand numbers at once."""

JOB = "lethe.training"
LAST_STEP = "lethe.last_step"

Numbers = dict[str, float]


@dataclass(slots=True)
class StepMetrics:
    """Sends the steps of one training to MLflow while it runs.

    Attributes:
        home: where MLflow is kept if ``$MLFLOW_TRACKING_URI`` names no other place.
        request_id: names the MLflow run.
        job: keyed digest of everything that decides the candidate; finds the MLflow run again.
    """

    home: Home
    request_id: str
    job: str
    _waiting: list[tuple[int, Numbers]] = field(default_factory=list)
    _last: float = field(default_factory=time.monotonic)
    _silent: bool = False

    def __call__(self, step: int, numbers: Numbers) -> None:
        """Take one step's numbers; a batch of them goes up now and then."""
        if self._silent:
            return
        self._waiting.append((step, numbers))
        if time.monotonic() - self._last >= SPACING_S:
            self.send()

    def send(self) -> None:
        """Send what is waiting. If MLflow does not answer, it is not asked again before training has ended."""
        waiting, self._waiting = self._waiting, []
        if not waiting or self._silent:
            return
        self._silent = not _sent(self, waiting)
        self._last = time.monotonic()

    def complete(self, curve: Sequence[CurvePoint]) -> bool:
        """Send what is still missing of a finished curve; False where MLflow does not answer."""
        self._waiting = []
        return _sent(self, [(point.step, numbers_of(point)) for point in curve])


def numbers_of(point: CurvePoint) -> Numbers:
    """A point's numbers by name."""
    return {name: float(value) for name, value in point.model_dump().items() if name != "step" and value is not None}


def _sent(metrics: StepMetrics, points: Sequence[tuple[int, Numbers]]) -> bool:
    try:
        with tracking(metrics.home) as mlflow:
            _log(mlflow, metrics, points)
    except Exception as error:  # a display must not end a training, whatever is wrong with it
        logger.warning("steps are not shown in MLflow for now (%s)", type(error).__name__)
        return False
    return True


def _log(mlflow: Tracking, metrics: StepMetrics, points: Sequence[tuple[int, Numbers]]) -> None:
    from mlflow.entities import Metric, RunTag

    tags = {"lethe.request": metrics.request_id, JOB: metrics.job}
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    found = mlflow.client.search_runs([mlflow.experiment_id], filter_string=wanted, max_results=1)
    name = f"{metrics.request_id} training"
    run = found[0] if found else mlflow.client.create_run(mlflow.experiment_id, tags=tags, run_name=name)
    done = int(run.data.tags.get(LAST_STEP, "0"))
    new = [(step, numbers) for step, numbers in points if step > done]
    at = int(datetime.now(UTC).timestamp() * 1000)
    for first in range(0, len(new), POINTS_PER_BATCH):
        batch = new[first : first + POINTS_PER_BATCH]
        rows = [Metric(name, value, at, step) for step, numbers in batch for name, value in numbers.items()]
        # One request, so that the tag and the points cannot part.
        mlflow.client.log_batch(run.info.run_id, metrics=rows, tags=[RunTag(LAST_STEP, str(batch[-1][0]))])

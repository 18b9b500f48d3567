"""Trials as Prefect task runs, several at a time, on the task runner that a search's settings name.

Child processes report to the server that this process reports to, and end when it ends, however it ends. In this
process trials run one after the other: the random state that training draws from is the process's own.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import connection, parent_process
from typing import Any

from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture, as_completed
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from pipelines.errors import BadInput, LetheError
from pipelines.search.loop import Work
from pipelines.search.settings import SearchSettings
from pipelines.search.trial import Setting, TrialResult
from tasks.trials import discard, try_setting
from tasks.workspace import RunContext

FAILURES = 5
"""Trials in a row that may fail by our own fault before the search does."""


def runner_of(settings: SearchSettings) -> TaskRunner[Any]:
    """The task runner that the settings name.

    Raises:
        BadInput: it is an extra that is not installed, or more than one job was asked of this process.
    """
    if settings.runner == "process":
        return ProcessPoolTaskRunner(max_workers=settings.jobs, initializer=end_with_parent)
    if settings.runner == "thread":
        if settings.jobs > 1:
            raise BadInput(f"jobs: {settings.jobs}, but runner 'thread' takes 1; runner 'process' takes more")
        return ThreadPoolTaskRunner(max_workers=1)
    return _cluster(settings)


def _cluster(settings: SearchSettings) -> TaskRunner[Any]:
    extra = settings.runner
    try:
        library = import_module(f"prefect_{extra}")
    except ImportError:
        library = None
    if library is None:
        raise BadInput(f"runner: '{extra}' needs prefect-{extra}; install lethe-unlearning[{extra}], or take 'process'")
    if extra == "ray":
        made: TaskRunner[Any] = library.RayTaskRunner()
    else:
        made = library.DaskTaskRunner(cluster_kwargs={"n_workers": settings.jobs, "threads_per_worker": 1})
    return made


def end_with_parent() -> None:
    """End this process when the one that started it ends: a killed search leaves nobody training behind."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def one_server() -> Iterator[None]:
    """Let child processes use the server of this one; each would start its own where none was named."""
    with get_client(sync_client=True) as client:
        address = str(client.api_url)
        with temporary_settings({PREFECT_API_URL: address}):
            yield


@dataclass(slots=True)
class TaskFanOut:
    """Runs the work of a search as task runs of the flow that it is used in.

    Attributes:
        run: the search's.
        jobs: how many at a time.
    """

    run: RunContext
    jobs: int
    _open: dict[PrefectFuture[TrialResult], Work] = field(default_factory=dict)
    _failed: int = 0

    @property
    def free(self) -> int:
        """How many more may be handed in now."""
        return self.jobs - len(self._open)

    @property
    def busy(self) -> bool:
        """Whether one is under way."""
        return bool(self._open)

    def submit(self, work: Work) -> None:
        """Start one as a task run of its own."""
        named = try_setting.with_options(name=f"compare: trial {work.setting.method}")
        self._open[named.submit(self.run, work.setting, work.seed, work.allowance)] = work

    def next(self) -> TrialResult:
        """Wait for the next one to end.

        Raises:
            LetheError: several in a row failed by our own fault.
        """
        future = next(iter(as_completed(list(self._open))))
        work = self._open.pop(future)
        try:
            result = future.result()
        except LetheError as error:
            self._failed += 1
            if self._failed == FAILURES:
                raise
            return TrialResult(setting=work.setting, seed=work.seed, ending="failed", reason=str(error))
        self._failed = 0
        return result

    def discard(self, setting: Setting) -> None:
        """Remove what a trial that will not go on has left."""
        discard(self.run, setting, self.run.config.seed)

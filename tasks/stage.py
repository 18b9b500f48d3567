"""What every task of a run has in common: no cached result, retries for what is transient, no text in errors.

A stage's own errors (:class:`pipelines.errors.LetheError`) pass through: they name rows by index. Any other exception
may quote a row, in its text, its context or its traceback, and Prefect would store it; so it is written into the
request's vault and replaced by one that names only its type and that file. The replacement is raised outside the
``except`` block, or it would carry the original along.
"""

import errno
import logging
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from pipelines.audit.canonical import sha256_bytes
from pipelines.audit.encoding import write_atomic
from pipelines.errors import BadInput, LetheError, Unavailable
from tasks.workspace import RunContext

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("lethe")

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says when nothing more can be written."""


class StageFailed(LetheError):
    """Our own fault; the details are in the vault."""


def only_transient(task: Task[..., object], task_run: TaskRun, state: State[object]) -> bool:
    """Retry what another try can mend: a service that did not answer."""
    try:
        state.result()
    except (Unavailable, ConnectionError, TimeoutError):
        return True
    except Exception:
        return False
    return False


def stage(
    name: str, *, retries: int = 3
) -> Callable[[Callable[Concatenate[RunContext, P], R]], Task[Concatenate[RunContext, P], R]]:
    """A Prefect task whose first argument is the run's context."""

    def decorate(function: Callable[Concatenate[RunContext, P], R]) -> Task[Concatenate[RunContext, P], R]:
        @wraps(function)
        def guarded(run: RunContext, /, *args: P.args, **kwargs: P.kwargs) -> R:
            failure: BaseException
            try:
                return function(run, *args, **kwargs)
            except (LetheError, ConnectionError, TimeoutError) as error:
                failure = _bare(error)
            except OSError as error:
                failure = _full(name) if error.errno in FULL else _hidden(run, name, error)
            except Exception as error:
                failure = _hidden(run, name, error)
            raise failure

        return task(
            name=name,
            retries=retries,
            retry_delay_seconds=exponential_backoff(backoff_factor=2),
            retry_jitter_factor=0.2,
            retry_condition_fn=only_transient,
            cache_policy=NO_CACHE,
            persist_result=False,
            log_prints=False,
        )(guarded)

    return decorate


def _bare(error: LetheError | ConnectionError | TimeoutError) -> LetheError:
    """The error without context or traceback; a library's connection error becomes ours, without its text."""
    if isinstance(error, LetheError):
        return type(error)(str(error))
    return Unavailable(f"a service did not answer ({type(error).__name__}); run again to resume")


def _full(name: str) -> BadInput:
    return BadInput(f"stage {name}: no space left on the device; free some, run again to resume")


def _hidden(run: RunContext, name: str, error: Exception) -> StageFailed:
    details = "".join(traceback.format_exception(error)).encode("utf-8", "replace")
    reference = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{sha256_bytes(details)[:8]}"
    folder = Path(run.home) / "vault" / run.request_id / "errors"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(folder / f"{reference}.txt", details, mode=0o600)
    return StageFailed(
        f"stage {name}: {type(error).__name__}; details in the vault of {run.request_id}: errors/{reference}.txt"
    )

"""Hands a request over to the evaluator, who runs apart: a process of its own, or a deployment on its own work pool.

Both ends of the line to that process are here. It is told what to assess on its standard input and says on its standard
output how far it is and why it failed; nothing of a row travels either way. When whoever started it is gone, the input
ends and the process ends itself: no evaluator is left over.
"""

import json
import logging
import os
import subprocess
import sys
import threading
from typing import IO, Literal

from prefect.client.orchestration import get_client
from prefect.context import TaskRunContext
from prefect.settings import PREFECT_API_URL

from pipelines.config import validated
from pipelines.errors import BadInput, LetheError, Refused, Unavailable, VerificationFailed
from pipelines.provenance import ROOT
from pipelines.records import Record, RequestId
from tasks.device import EMBEDDED_SERVER, release_memory
from tasks.stage import StageFailed, stage
from tasks.workspace import RunContext

PROCESS = "process"
COMMAND: tuple[str, ...] = (sys.executable, "-m", "flows.assess")
ERRORS: dict[int, type[LetheError]] = {kind.exit_code: kind for kind in (BadInput, Refused, VerificationFailed)}

logger = logging.getLogger("lethe.progress")


class Assessment(Record):
    """What the evaluator is asked for.

    Attributes:
        request_id: which request; everything else is read from its folders and the log.
        home: where they are.
        refusal: why there is no candidate to measure, or None.
        parent_task: the task run that asks, so that the UI shows one below the other.
    """

    request_id: RequestId
    home: str
    refusal: str | None
    parent_task: str | None = None


class Said(Record):
    """One line from the evaluator's process: progress of a stage, or why it ended."""

    kind: Literal["progress", "error"]
    text: str
    stage: str = ""
    done: int = 0
    total: int = 1
    code: int = 1


@stage("assess", retries=0)
def hand_over(run: RunContext, evaluator: str, refusal: str | None) -> None:
    """Have the request assessed, and wait for it.

    Args:
        run: the run.
        evaluator: ``process``, or the name of a deployment of the flow ``assess`` as ``flow/deployment``.
        refusal: why there is no candidate to measure, or None.

    Raises:
        LetheError: what the evaluator ended with.
    """
    context = TaskRunContext.get()
    parent = str(context.task_run.id) if context else None
    asked = Assessment(request_id=run.request_id, home=run.home, refusal=refusal, parent_task=parent)
    release_memory()
    if evaluator == PROCESS:
        _own_process(asked)
    else:
        _deployment(evaluator, asked)


def _own_process(asked: Assessment) -> None:
    failure = None
    # Leaving the block closes the child's input: it ends, whatever happened here.
    with subprocess.Popen(
        COMMAND,
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as child:
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("a process without the pipes that were asked for")
        child.stdin.write(json.dumps(asked.plain()) + "\n")
        child.stdin.flush()
        for line in child.stdout:
            said = _heard(line)
            failure = said if said and said.kind == "error" else failure
        code = child.wait()
    if failure is not None:
        raise ERRORS.get(failure.code, StageFailed)(failure.text)
    if code:
        raise StageFailed(f"the evaluator's process ended with {code}; run again to resume")


def _environment() -> dict[str, str]:
    """This process's, with the address of the server it talks to and without the marks of the run it is itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT__")}
    with get_client(sync_client=True) as client:
        kept["PREFECT_API_URL"] = str(client.api_url)
    return kept if PREFECT_API_URL.value() else {**kept, EMBEDDED_SERVER: "true"}


def _heard(line: str) -> Said | None:
    """What a line says; progress is passed on to whoever shows it here."""
    said = validated(Said, json.loads(line), where="the evaluator's process")
    if said.kind == "progress":
        shown = {"stage": said.stage, "done": said.done, "total": said.total, "detail": said.text}
        logger.info("%s %d/%d %s", said.stage, said.done, said.total, said.text, extra=shown)
    return said


def _deployment(name: str, asked: Assessment) -> None:
    from prefect.client.schemas.objects import FlowRun
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    parameters = {"request_id": asked.request_id, "home": asked.home, "refusal": asked.refusal}
    try:
        ended = run_deployment(name, parameters=parameters, as_subflow=True, poll_interval=2)
    except ObjectNotFound:
        ended = None
    if not isinstance(ended, FlowRun):
        raise BadInput(f"evaluator: no deployment {name!r}; allowed: {PROCESS}, or flow/deployment of a deployed flow")
    if ended.state is None or not ended.state.is_completed():
        state = ended.state.name if ended.state else "without a state"
        raise Unavailable(f"the evaluator's run {ended.name} ended {state}; see it there, run again to resume")


class ToParent(logging.Handler):
    """Sends progress of this process to the one that started it."""

    def __init__(self, channel: IO[str]) -> None:
        super().__init__(level=logging.INFO)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record, if it is progress."""
        found = {name: getattr(record, name, None) for name in ("stage", "done", "total")}
        if None not in found.values():
            detail = getattr(record, "detail", "")
            say(self._channel, Said.model_validate({"kind": "progress", "text": detail, **found}))


def say(channel: IO[str], said: Said) -> None:
    """Send one line to the process that started this one."""
    channel.write(json.dumps(said.plain()) + "\n")
    channel.flush()


def own_channel() -> IO[str]:
    """The line to the parent; from here on whatever else is printed in this process goes to stderr."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return channel


def what_is_asked(line: str) -> Assessment:
    """What the parent asks for."""
    return validated(Assessment, json.loads(line), where="standard input")


def end_with_parent(stdin: IO[str]) -> None:
    """End this process, as a kill would, as soon as its input ends: its steps can be resumed."""
    descriptor = stdin.fileno()  # read below Python's own buffer, whose lock would be missed when the process ends

    def watch() -> None:
        while os.read(descriptor, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()

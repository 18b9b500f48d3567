"""A real Prefect server and a real process worker on loopback, for what an in-process harness cannot stand in for.

Each has its own PREFECT_HOME, its own port and its own process group, which is gone when the block ends, however it
ends. Nothing here imports Prefect: it talks to the API as any client would.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from flows.environment import DEFAULTS, SILENT

START_S = 120.0
STOP_S = 20.0
BUSY = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE})


@dataclass(frozen=True)
class PrefectServer:
    """A running server.

    Attributes:
        url: where the UI is.
        api: where the API is (``PREFECT_API_URL``).
        environment: what a client or worker in another process needs to reach it, and only it.
    """

    url: str
    api: str
    environment: Mapping[str, str]

    def ask(self, path: str, body: object) -> httpx.Response:
        """POST to the API, again while it is busy: SQLite under load answers 503, and Prefect's client asks again."""
        deadline = time.monotonic() + START_S
        while True:
            answer = httpx.post(f"{self.api}/{path}", json=body, timeout=60)
            if answer.status_code not in BUSY or time.monotonic() > deadline:
                return answer
            time.sleep(1)

    def post(self, path: str, body: object) -> httpx.Response:
        """POST to the API; an answer that is no success raises."""
        return self.ask(path, body).raise_for_status()

    def prefect(self, *arguments: str, cwd: Path) -> str:
        """Run the ``prefect`` command line against this server and return what it printed."""
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        done = subprocess.run(
            command, cwd=cwd, env={**self.environment}, capture_output=True, text=True, timeout=START_S, check=False
        )
        if done.returncode:
            raise RuntimeError(
                f"prefect {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str, every: float = 0.5) -> None:
    """Poll until the condition holds.

    Raises:
        TimeoutError: it did not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


@contextmanager
def prefect_server(home: Path) -> Iterator[PrefectServer]:
    """Start a server on SQLite under ``home``, wait until it answers, stop it at the end."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    mine = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        # --port alone leaves the UI calling the default port: its pages stay empty
        "PREFECT_SERVER_API_PORT": str(port),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    server = PrefectServer(
        url=f"http://127.0.0.1:{port}", api=api, environment={**inherited, **DEFAULTS, **SILENT, **mine}
    )
    command = [sys.executable, "-m", "prefect", "server", "start"]
    with _running(command, server.environment, cwd=home, log=home / "server.log") as process:
        wait_until(lambda: _answers(process, f"{api}/health", home / "server.log"), seconds=START_S, what=api)
        yield server


@contextmanager
def process_worker(server: PrefectServer, *, pool: str, cwd: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a worker of a process pool in ``cwd``, wait until the server lists it as online, stop it at the end."""
    command = [
        sys.executable,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        pool,
        "--type",
        "process",
        "--name",
        "test",
    ]

    def online() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the worker ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        try:
            workers = server.post(f"work_pools/{pool}/workers/filter", {}).json()
        except httpx.HTTPStatusError:  # the worker makes the pool when it starts
            return False
        return any(worker["status"] == "ONLINE" for worker in workers)

    with _running(command, server.environment, cwd=cwd, log=log) as process:
        wait_until(online, seconds=START_S, what=f"worker of {pool}")
        yield process


def _answers(process: "subprocess.Popen[bytes]", url: str, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextmanager
def _running(
    command: Sequence[str], environment: Mapping[str, str], *, cwd: Path, log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask the whole process group to end, then make it end: nothing outlives a test, even where SIGINT is ignored."""
    try:
        with suppress(subprocess.TimeoutExpired, ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(STOP_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

"""Runs the command line in a process of its own, and kills a process where a step is about to be complete.

Usage: ``python -m tests.flows.killed [parent@]STEP ARGUMENTS...``: the step's files are written, the log does not have
them, the rename has not happened. Killed is who is at the step: the command, or the evaluator that it started; with
``parent@`` it is the command while its evaluator is at the step. ``-`` kills nobody. As ``python -m
tests.flows.killed evaluator STEP`` this is that evaluator.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.cli import run
from flows.cli.options import opened
from pipelines.steps import StepStore

PARENT = "parent@"


def _kill_at(step: str) -> None:
    whole, victim = StepStore.write, os.getppid() if step.startswith(PARENT) else os.getpid()

    @contextmanager
    def write(self: StepStore, name: str, identity: str) -> Iterator[Path]:
        with whole(self, name, identity) as part:
            yield part
            if name == step.removeprefix(PARENT):
                print(f"evaluator {os.getpid()} stays", file=sys.stderr, flush=True)
                os.kill(victim, signal.SIGKILL)
                time.sleep(120)  # the parent is gone: whoever is still here must end by itself

    StepStore.write = write  # type: ignore[method-assign]


def _command(step: str, arguments: list[str]) -> int:
    opened(Path(arguments[arguments.index("--home") + 1]))  # sets what Prefect reads on import
    import tasks.evaluator

    tasks.evaluator.COMMAND = (sys.executable, "-W", "ignore", "-m", "tests.flows.killed", "evaluator", step)
    if not step.startswith(PARENT):
        _kill_at(step)
    return run(arguments)


def _evaluator(step: str) -> int:
    _kill_at(step)
    from flows.assess import main

    return main()


if __name__ == "__main__":
    sys.exit(_evaluator(sys.argv[2]) if sys.argv[1] == "evaluator" else _command(sys.argv[1], sys.argv[2:]))

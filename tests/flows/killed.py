"""Runs the command line in a process of its own that kills itself where a step is about to be complete.

Usage: ``python -m tests.flows.killed STEP ARGUMENTS...``: the step's files are written, the log does not have them, the
rename has not happened. ``STEP`` ``-`` kills nowhere.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.cli import run
from pipelines.steps import StepStore


def _kill_at(step: str) -> None:
    whole = StepStore.write

    @contextmanager
    def write(self: StepStore, name: str, identity: str) -> Iterator[Path]:
        with whole(self, name, identity) as part:
            yield part
            if name == step:
                os.kill(os.getpid(), signal.SIGKILL)

    StepStore.write = write  # type: ignore[method-assign]


if __name__ == "__main__":
    _kill_at(sys.argv[1])
    sys.exit(run(sys.argv[2:]))

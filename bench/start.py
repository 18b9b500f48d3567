"""How long a person waits before anything happens: a cold start of the command line and of the offline verifier."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.base import Bench, Figure

REPEATS = 3


def measure(folder: Path) -> Sequence[Figure]:
    """Seconds from process start to the printed help, best of three: the machine's other work is not ours."""
    return [
        Figure("lethe --help", _seconds(["-c", "from flows.cli import main; main()", "--help"], folder), "s"),
        Figure("verifier --help", _seconds(["-m", "pipelines.audit", "--help"], folder), "s", limit=0.5),
    ]


def _seconds(arguments: Sequence[str], folder: Path) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        begin = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
        best = min(best, time.perf_counter() - begin)
    return round(best, 3)


BENCH = Bench(name="start", measure=measure)

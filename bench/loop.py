"""The training loop against the straightforward one (:mod:`bench.naive`): step throughput, peak memory, trajectory.

Both do the same mathematics on the same batches with the same optimiser, each in a process of its own, one after the
other, on all cores: an 80M-parameter Llama with 32,000 tokens, rows with TOFU's lengths, float32, eight forget and
eight retain rows per step. Throughput is that of the steps after the first; checkpoints and what comes before and after
training are not in it. Peak memory is that of the whole process (``VmHWM`` of Linux): interpreter, libraries, loading
and, on our side, reference statistics, checkpoint and export too. Nothing is subtracted; what the processes hold after
their imports is reported by itself. Our loop has freed blocks returned to the system
(:mod:`pipelines.allocator`); the straightforward one runs as a script does, with the C library's own settings.
Other work on the machine slows both; processor time is compared as well.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.base import Bench, Figure
from bench.sides import START, Side
from bench.workload import WORKLOADS, Workload, save_start

LEAST_SPEEDUP = 1.5
MOST_MEMORY = 0.6
MOST_DRIFT = 1e-4


def measure(folder: Path) -> Sequence[Figure]:
    """Ratios for every workload, and the figures they were made from."""
    return [figure for workload in WORKLOADS.values() for figure in _compared(workload, folder / workload.name)]


def _compared(workload: Workload, folder: Path) -> list[Figure]:
    save_start(workload, folder / START)
    naive, ours = (_run(side, workload, folder) for side in ("naive", "ours"))
    # Largest difference of two losses, relative where they are above 1.
    drift = max(abs(a - b) / max(abs(a), 1.0) for a, b in zip(naive.losses, ours.losses, strict=True))
    return [
        # A limit is the most a figure may be, so time is compared, not its inverse.
        Figure(
            f"{workload.name}: time per step, ours / naive", _share(ours.seconds, naive.seconds), "", 1 / LEAST_SPEEDUP
        ),
        Figure(f"{workload.name}: processor time, ours / naive", _share(ours.processor, naive.processor), ""),
        Figure(f"{workload.name}: peak memory, ours / naive", _share(ours.peak_mib, naive.peak_mib), "", MOST_MEMORY),
        Figure(f"{workload.name}: largest difference of a loss", drift, "nats, relative above 1", MOST_DRIFT),
        *(figure for name, side in (("naive", naive), ("ours", ours)) for figure in _alone(workload, name, side)),
    ]


def _share(part: float, whole: float) -> float:
    return round(part / whole, 3)


def _alone(workload: Workload, name: str, side: Side) -> list[Figure]:
    rows = 2 * workload.batch_size * (len(side.losses) - 1)
    return [
        Figure(f"{workload.name}, {name}: throughput", round(rows / side.seconds, 2), "rows/s"),
        Figure(f"{workload.name}, {name}: peak memory", round(side.peak_mib), "MiB"),
        Figure(f"{workload.name}, {name}: after imports", round(side.imported_mib), "MiB"),
    ]


def _run(side: str, workload: Workload, folder: Path) -> Side:
    command = [sys.executable, "-m", "bench.sides", side, workload.name, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Side(**json.loads(done.stdout.splitlines()[-1]))


BENCH = Bench(name="loop", measure=measure)

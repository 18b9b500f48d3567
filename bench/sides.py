"""One side of the loop bench, in a process of its own: ``python -m bench.sides ours|naive WORKLOAD FOLDER``.

Prints one JSON document: losses, time of the steps after the first, peak memory. The straightforward side gets the same
start model, the same rows as tokens and the same batches as the product's.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import naive
from bench.base import memory_mib
from bench.workload import WORKLOADS, Workload, job_of
from pipelines.data.encode import Encoded
from pipelines.methods.npo import NPOParams
from pipelines.models.adapters import add_adapters
from pipelines.training.pairing import PairedBatch, draw_retain, paired_batches
from pipelines.unlearning.job import UnlearningJob, encode_set, load_start
from pipelines.unlearning.stages import unlearn

START = "start"


@dataclass(frozen=True, slots=True)
class Side:
    """What one loop did.

    Attributes:
        losses: of every step.
        seconds: wall time of the steps after the first.
        processor: processor time of the same, of all threads.
        imported_mib: what the process held before anything was loaded.
        peak_mib: the most it ever held, libraries included.
    """

    losses: list[float]
    seconds: float
    processor: float
    imported_mib: float
    peak_mib: float


class Clock:
    """Reads wall and processor time at the end of every step."""

    def __init__(self) -> None:
        self.reads: list[tuple[float, float]] = []

    def tick(self) -> None:
        """A step has ended."""
        self.reads.append((time.perf_counter(), time.process_time()))

    def passed(self) -> tuple[float, float]:
        """Wall and processor seconds from the end of the first step to the end of the last."""
        (wall, processor), (wall_end, processor_end) = self.reads[0], self.reads[-1]
        return wall_end - wall, processor_end - processor


def ours(workload: Workload, folder: Path, clock: Clock) -> list[float]:
    """The product's loop, all three stages; returns the loss of every step."""
    losses: list[float] = []

    def tell(loss: float) -> None:
        clock.tick()
        losses.append(loss)

    job = job_of(workload, folder / START)
    unlearn(job, folder / "candidate", progress=lambda at: tell(at.metrics["loss"]))
    return losses


def straightforward(workload: Workload, folder: Path, clock: Clock) -> list[float]:
    """The plain loop with a second copy of the start model."""
    job = job_of(workload, folder / START)
    return plain_losses(job, recipe_of(workload, job), stepped=clock.tick)


def recipe_of(workload: Workload, job: UnlearningJob) -> naive.Recipe:
    """The plain loop's settings for the same mathematics."""
    if not isinstance(job.params, NPOParams):
        raise TypeError(f"method {job.method.name}: the plain loop knows NPO only")
    return naive.Recipe(
        beta=job.params.beta,
        alpha=job.params.alpha,
        retain_term=workload.retain_term,
        learning_rate=job.training.learning_rate,
        max_grad_norm=job.training.max_grad_norm,
    )


def plain_losses(job: UnlearningJob, recipe: naive.Recipe, *, stepped: Callable[[], None]) -> list[float]:
    """Loss of every step of the plain loop on a job's model, rows and batches."""
    loaded, second = load_start(job), load_start(job)
    forget = encode_set(loaded, job, job.forget, name="forget")
    retain = encode_set(loaded, job, job.retain, name="retain")
    batches = batches_of(job, forget, retain)
    return naive.train(
        loaded.model if job.lora is None else add_adapters(loaded.model, job.lora, seed=job.seed),
        second.model,
        forget=naive.padded(forget, pad_id=loaded.pad_id, ended=False),
        retain=naive.padded(retain, pad_id=loaded.pad_id, ended=True),
        batches=batches,
        recipe=recipe,
        stepped=stepped,
    )


def batches_of(job: UnlearningJob, forget: Sequence[Encoded], retain: Sequence[Encoded]) -> list[PairedBatch]:
    """Every batch of the job, in order."""
    batches: list[PairedBatch] = []
    size, rows = job.training.batch_size, dict(enumerate(retain))
    drawn = draw_retain(len(retain), per_epoch=len(forget), epochs=job.training.epochs, seed=job.seed)
    for epoch, positions in enumerate(drawn):
        batches += paired_batches(forget, rows, drawn=positions, batch_size=size, seed=job.seed, epoch=epoch)
    return batches


SIDES: Mapping[str, Callable[[Workload, Path, Clock], list[float]]] = {"ours": ours, "naive": straightforward}


def main(side: str, workload: str, folder: str) -> None:
    """Run one side and print what it did."""
    imported, clock = memory_mib("VmRSS"), Clock()
    losses = SIDES[side](WORKLOADS[workload], Path(folder), clock)
    wall, processor = clock.passed()
    print(json.dumps(asdict(Side(losses, wall, processor, imported, memory_mib("VmHWM")))))


if __name__ == "__main__":
    main(*sys.argv[1:])

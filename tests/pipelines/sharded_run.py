"""What each process of ``test_sharded`` runs: a tiny job. Arguments: case, model folder, its digest, out."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from pipelines.config import LoraSettings, TrainingSettings
from pipelines.records import ModelRef
from pipelines.scoring.likelihood import AnswerBatch, AnswerPass, answer_pass
from pipelines.training import loop as training
from pipelines.training.loop import Progress
from pipelines.training.ranks import rank
from pipelines.training.sharded import unlearn_together
from pipelines.unlearning.job import UnlearningJob
from tests.jobs import tiny_job

BATCHES = 4
"""Batches of one row per step, however many processes share them out; six rows leave an incomplete step."""


def job_of(case: str, model: ModelRef, *, processes: int) -> UnlearningJob:
    """Two epochs of two steps; in case ``holdout`` as many as the stop rule takes."""
    settings = TrainingSettings(
        epochs=2, batch_size=1, gradient_accumulation=BATCHES // processes, learning_rate=1e-4, schedule="linear"
    )
    if case == "holdout":
        settings = settings.model_copy(update={"epochs": 30, "learning_rate": 4e-4, "stop": "holdout"})
    return tiny_job(model, training=settings, lora=LoraSettings(r=4) if case == "lora" else None)


def _told(case: str) -> Callable[[Progress], None]:
    def tell(at: Progress) -> None:
        print(f"step {at.step} {at.metrics['loss']}", flush=True)
        if case == "killed" and at.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    return tell


def _break_one_process() -> None:
    """The second process alone finds NaN: in the first batch of its third step, after the first checkpoint."""
    passes = iter(range(1000))

    def broken(model: nn.Module, batch: AnswerBatch, *, layer: int | None) -> AnswerPass:
        seen = answer_pass(model, batch, layer=layer)
        factor = float("nan") if next(passes) == 3 and rank() == 1 else 1.0
        return replace(seen, stats=replace(seen.stats, token_nll_BA=seen.stats.token_nll_BA * factor))

    setattr(training, "answer_pass", broken)  # noqa: B010 -- what a test would do through monkeypatch


def main(case: str, model: str, digest: str, out: str) -> None:
    if case == "diverged":
        _break_one_process()
    ref = ModelRef(path=model, digest=digest)
    candidate = unlearn_together(job_of(case, ref, processes=2), Path(out), progress=_told(case))
    if candidate is not None:
        print(f"candidate {candidate.epochs} {candidate.stop_reason} {candidate.model.digest}")


if __name__ == "__main__":
    main(*sys.argv[1:])

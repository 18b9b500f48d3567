"""What each process of ``test_sharded`` runs: a tiny job. Arguments: model folder, digest, out, full or lora."""

import sys
from pathlib import Path

from pipelines.config import LoraSettings, TrainingSettings
from pipelines.records import ModelRef
from pipelines.sharded import unlearn_together
from tests.jobs import tiny_job


def main(model: str, digest: str, out: str, lora: str) -> None:
    job = tiny_job(
        ModelRef(path=model, digest=digest),
        training=TrainingSettings(epochs=2, batch_size=1, gradient_accumulation=2, learning_rate=1e-4),
        lora=LoraSettings(r=4) if lora == "lora" else None,
    )
    candidate = unlearn_together(job, Path(out), progress=lambda at: print(f"step {at.step} {at.metrics['loss']}"))
    if candidate is not None:
        print(f"candidate {candidate.steps}")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Two processes under FSDP make the candidate of one; every batch counts the same; one process speaks and writes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines.config import LoraSettings, TrainingSettings
from pipelines.errors import BadInput
from pipelines.pairing import PairedBatch
from pipelines.provenance import ROOT
from pipelines.sharded import RankBatches, unlearn_together
from pipelines.training_data import EpochBatches
from pipelines.unlearning import unlearn
from tests.jobs import save_taught, tiny_job
from tests.servers import free_port

LAUNCH = ("-m", "accelerate.commands.launch", "--config_file", "deployments/accelerate/fsdp.yaml")


class Counted(EpochBatches):
    """So many batches, of which only the number matters."""

    def __init__(self, n: int) -> None:
        self._batches = [PairedBatch(forget=(i,), retain=()) for i in range(n)]


@pytest.mark.parametrize(
    ("batches", "processes", "accumulation"), [(6, 2, 2), (7, 2, 2), (5, 3, 1), (1, 2, 2), (4, 1, 3)]
)
def test_every_batch_counts_once_and_the_same(batches: int, processes: int, accumulation: int) -> None:
    """Averaged over processes and over the rounds of a step, the weights of a step's K batches are 1 / K each."""
    ranks = [
        RankBatches(Counted(batches), accumulation=accumulation, processes=processes, process=r)
        for r in range(processes)
    ]
    rounds = len(ranks[0])
    seen: list[int] = []
    for first in range(0, rounds, accumulation):
        step = [rank[i] for i in range(first, min(first + accumulation, rounds)) for rank in ranks]
        real = [(pair.forget[0], weight / len(step)) for pair, weight in step if weight]
        assert [share for _, share in real] == pytest.approx([1 / len(real)] * len(real))
        seen += [i for i, _ in real]
    assert seen == list(range(batches))


def test_what_looks_at_whole_weights_is_refused(tmp_path: Path) -> None:
    model = save_taught(tmp_path / "model")
    with pytest.raises(BadInput, match="several processes: method task_vector looks at whole weights"):
        unlearn_together(tiny_job(model, method="task_vector"), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("lora", ["full", "lora"])
def test_two_processes_make_the_candidate_of_one(tmp_path: Path, lora: str) -> None:
    """Two processes x two batches of one row a step are one process with four; six rows leave an incomplete step."""
    model = save_taught(tmp_path / "model")
    out = tmp_path / "sharded"
    port = ("--num_processes", "2", "--main_process_port", str(free_port()))
    command = [sys.executable, *LAUNCH, *port, "-m", "tests.pipelines.sharded_run"]
    done = subprocess.run(
        [*command, model.path, model.digest, str(out), lora],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stdout.splitlines() if line]
    assert [line.split()[:2] for line in said] == [*(["step", str(i)] for i in range(1, 5)), ["candidate", "4"]]
    settings = TrainingSettings(epochs=2, batch_size=1, gradient_accumulation=4, learning_rate=1e-4)
    losses: list[float] = []
    job = tiny_job(model, training=settings, lora=LoraSettings(r=4) if lora == "lora" else None)
    unlearn(job, tmp_path / "alone", progress=lambda at: losses.append(at.metrics["loss"]))
    assert [float(line.split()[2]) for line in said[:-1]] == pytest.approx(losses, abs=1e-5)
    together, alone = (load_file(folder / "model.safetensors") for folder in (out, tmp_path / "alone"))
    start = load_file(Path(model.path) / "model.safetensors")
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, atol=1e-5, rtol=0)
    assert max(float((alone[name] - start[name]).abs().max()) for name in alone) > 1e-4
    assert not out.with_name("sharded.work").exists()

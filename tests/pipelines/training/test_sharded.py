"""Two processes under FSDP make the candidate of one, killed on the way or not; they stop together; one speaks."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines.errors import BadInput
from pipelines.provenance import ROOT
from pipelines.records import Candidate, ModelRef
from pipelines.training.checkpoints import WEIGHTS, Checkpoints
from pipelines.training.inputs import EpochBatches
from pipelines.training.pairing import PairedBatch
from pipelines.training.sharded import RankBatches, unlearn_together
from pipelines.unlearning.stages import unlearn
from tests.jobs import save_taught, tiny_job
from tests.pipelines.sharded_run import job_of
from tests.servers import free_port

LAUNCH = ("-m", "accelerate.commands.launch", "--config_file", "deployments/accelerate/fsdp.yaml")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


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


def test_what_looks_at_whole_weights_is_refused(model: ModelRef, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="several processes: method task_vector looks at whole weights"):
        unlearn_together(tiny_job(model, method="task_vector"), tmp_path / "out")


@dataclass(frozen=True)
class Said:
    """What two processes printed and how they ended: exit status, steps with their losses, the candidate's line."""

    status: int
    losses: dict[int, float]
    candidate: list[str]
    errors: str


def _together(case: str, model: ModelRef, out: Path) -> Said:
    """Run a case in two processes."""
    port = ("--num_processes", "2", "--main_process_port", str(free_port()))
    command = [sys.executable, *LAUNCH, *port, "-m", "tests.pipelines.sharded_run"]
    done = subprocess.run(
        [*command, case, model.path, model.digest, str(out)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    words = [line.split() for line in done.stdout.splitlines() if line]
    losses = {int(step): float(loss) for _, step, loss in (line for line in words if line[0] == "step")}
    ends = [line[1:] for line in words if line[0] == "candidate"]
    assert len(losses) + len(ends) == len(words), "a step was told twice, or not by the main process alone"
    return Said(done.returncode, losses, ends[0] if ends else [], done.stderr)


def _alone(case: str, model: ModelRef, out: Path) -> tuple[Candidate, list[float]]:
    losses: list[float] = []
    job = job_of(case, model, processes=1)
    return unlearn(job, out, progress=lambda at: losses.append(at.metrics["loss"])), losses


def _assert_like(out: Path, alone: Path, start: Path) -> None:
    together, one, before = (load_file(folder / "model.safetensors") for folder in (out, alone, start))
    for name, tensor in one.items():
        torch.testing.assert_close(together[name], tensor, atol=1e-5, rtol=0)
    assert max(float((one[name] - before[name]).abs().max()) for name in one) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("case", ["full", "lora"])
def test_two_processes_make_the_candidate_of_one(model: ModelRef, tmp_path: Path, case: str) -> None:
    """Two processes x two batches of one row a step are one process with four; six rows leave an incomplete step."""
    said = _together(case, model, tmp_path / "out")
    assert said.status == 0, said.errors[-3000:]
    candidate, losses = _alone(case, model, tmp_path / "alone")
    assert [*said.losses] == [1, 2, 3, 4]
    assert [*said.losses.values()] == pytest.approx(losses, abs=1e-5)
    assert said.candidate[:2] == [str(candidate.epochs), candidate.stop_reason] == ["2", "epochs"]
    _assert_like(tmp_path / "out", tmp_path / "alone", Path(model.path))
    assert not (tmp_path / "out.work").exists()


@pytest.mark.slow
def test_killed_they_go_on_to_the_same_bytes(model: ModelRef, tmp_path: Path) -> None:
    """The main process is killed in the third step, after the first epoch's checkpoint; the launcher ends the other."""
    killed = _together("killed", model, tmp_path / "out")
    assert killed.status != 0
    assert [*killed.losses] == [1, 2, 3]
    latest = Checkpoints(tmp_path / "out.work").latest()
    assert latest is not None
    assert latest.name == "checkpoint-2"
    resumed, whole = (_together("full", model, tmp_path / name) for name in ("out", "whole"))
    assert resumed.status == 0, resumed.errors[-3000:]
    assert {**killed.losses, **resumed.losses} == whole.losses
    assert [*resumed.losses] == [3, 4]
    assert resumed.candidate == whole.candidate


@pytest.mark.slow
def test_they_stop_together_where_one_process_would(model: ModelRef, tmp_path: Path) -> None:
    said = _together("holdout", model, tmp_path / "out")
    assert said.status == 0, said.errors[-3000:]
    candidate, losses = _alone("holdout", model, tmp_path / "alone")
    assert candidate.stop_reason == "holdout"
    assert 1 < candidate.epochs < 30
    assert said.candidate[:2] == [str(candidate.epochs), "holdout"]
    assert [*said.losses.values()] == pytest.approx(losses, abs=1e-4)
    _assert_like(tmp_path / "out", tmp_path / "alone", Path(model.path))


@pytest.mark.slow
def test_where_one_diverges_all_stop_and_the_checkpoint_stays(model: ModelRef, tmp_path: Path) -> None:
    """The second process finds NaN; the main one finds none and says so; neither waits for the other."""
    said = _together("diverged", model, tmp_path / "out")
    assert said.status != 0
    assert "TrainingDiverged: step 3: the loss is nan; lower the learning rate" in said.errors
    assert "TrainingDiverged: step 3: the loss of another process is not finite" in said.errors
    assert [*said.losses] == [1, 2]
    latest = Checkpoints(tmp_path / "out.work").latest()
    assert latest is not None
    assert latest.name == "checkpoint-2"
    assert all(bool(t.isfinite().all()) for t in load_file(latest / WEIGHTS).values())
    assert not (tmp_path / "out").exists()

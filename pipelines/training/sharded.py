"""The loop in several processes under accelerate's FSDP: weights, gradients and optimiser state in shards.

Promises the candidate that one process makes with as many batches per step: W processes with accumulation G take the
batches of a step of one process with accumulation W x G, and every batch counts the same, also in an epoch's last,
incomplete step. Checkpoints hold the trained weights whole, gathered and written by the main process, and the
optimiser's state in shards; a run goes on with the number of processes that it began with. Parts (masks, projections,
penalties) and procedures look at whole weights and are refused. The start model is loaded whole by every process
before it is sharded, so it must fit where it is loaded; what training adds to it, three times as much in float32, is
what is shared out.
"""

import math
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import FullyShardedDataParallelPlugin, PartialState
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils.data import DataLoader, Dataset

from pipelines.data.encode import Encoded
from pipelines.errors import BadInput, TrainingDiverged
from pipelines.methods.base import Procedure
from pipelines.records import Candidate
from pipelines.training.checkpoints import WEIGHTS, load_state, save_state, write_trained
from pipelines.training.inputs import EpochBatches
from pipelines.training.loop import TRAINER_STATE, Progress, UnlearningTrainer
from pipelines.training.pairing import PairedBatch
from pipelines.training.ranks import is_main, joined, rank, wait, world_size
from pipelines.unlearning.job import UnlearningJob
from pipelines.unlearning.stages import open_work, train_loop, unlearn


class RankBatches(Dataset[tuple[PairedBatch, float]]):
    """This process's batches of an epoch, one per round, and how much each counts.

    In round i process r takes batch i x W + r. A process for which none is left repeats the last one at weight 0: under
    FSDP nobody may sit out a round.
    """

    def __init__(self, epoch: EpochBatches, *, accumulation: int, processes: int, process: int) -> None:
        self._epoch, self._accumulation = epoch, accumulation
        self._processes, self._process = processes, process

    def __len__(self) -> int:
        return math.ceil(len(self._epoch) / self._processes)

    def __getitem__(self, index: int) -> tuple[PairedBatch, float]:
        mine, last = index * self._processes + self._process, len(self._epoch) - 1
        return self._epoch[min(mine, last)], self._weight(index) if mine <= last else 0.0

    def _weight(self, index: int) -> float:
        """Rounds of the step x processes / its batches: what the averages over both make of it is 1 / batches."""
        first = index - index % self._accumulation
        rounds = min(self._accumulation, len(self) - first)
        batches = min((first + rounds) * self._processes, len(self._epoch)) - first * self._processes
        return rounds * self._processes / batches


class ShardedTrainer(UnlearningTrainer):
    """:class:`UnlearningTrainer` in one of several processes."""

    def create_accelerator_and_postprocess(self) -> None:
        """Shard on CPUs, too: accelerate offers FSDP on GPUs only, torch does not mind."""
        super().create_accelerator_and_postprocess()
        state = self.accelerator.state
        if state.distributed_type == DistributedType.MULTI_CPU and os.environ.get("ACCELERATE_USE_FSDP") == "true":
            state.fsdp_plugin = FullyShardedDataParallelPlugin()
            state.distributed_type = DistributedType.FSDP
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.is_fsdp_enabled = True
        if not self.is_fsdp_enabled:
            raise BadInput("several processes: only FSDP is supported; launch with deployments/accelerate/fsdp.yaml")

    def get_train_dataloader(self) -> DataLoader[Any]:
        """This process's batches of one epoch, as tensors."""
        steps = self.args.gradient_accumulation_steps
        mine = RankBatches(self.epoch_data, accumulation=steps, processes=world_size(), process=rank())
        return DataLoader(mine, batch_size=None, shuffle=False, collate_fn=cast(Any, self._collate_weighted))

    def _collate_weighted(self, item: tuple[PairedBatch, float]) -> dict[str, Any]:
        return {**self._collate(item[0]), "weight": item[1]}

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: object = None
    ) -> torch.Tensor:
        """The batch's loss at its weight; all processes stop where one of them diverges."""
        weight = float(inputs.pop("weight"))
        loss, reason = None, ""
        try:
            loss = super().compute_loss(model, inputs)
        except TrainingDiverged as error:
            reason = str(error)
        broken = self.accelerator.reduce(torch.tensor(float(loss is None), device=self.args.device))
        if loss is None or float(broken):
            raise TrainingDiverged(reason or f"step {self._step}: the loss of another process is not finite")
        self._micro[-1].append(weight)
        return loss * weight

    def note_step(self) -> None:
        """With the batches of all processes."""
        every = self.accelerator.gather(torch.tensor(self._micro, dtype=torch.float64, device=self.args.device))
        self._micro = [values[:-1] for values in every.tolist() if values[-1]]
        super().note_step()

    def _values(self, items: Sequence[Encoded]) -> torch.Tensor:
        values = super()._values(items)
        for module in self._model.modules():
            # After a pass without a backward, weights stay gathered, in storage that is freed under whoever keeps them.
            if isinstance(module, FSDPModule):
                module.reshard()
        return values

    def _save_checkpoint(self, model: nn.Module, trial: object) -> None:
        trained = _whole(self._model)
        step = self.state.global_step
        with self.checkpoints.write(step) if is_main() else nullcontext(self.checkpoints.part(step)) as part:
            wait()
            self._save_optimizer_and_scheduler(str(part))
            self._save_rng_state(str(part))
            if is_main():
                write_trained(trained, part / WEIGHTS)
                self.state.save_to_json(str(part / TRAINER_STATE))
                save_state(part, self.loop_state)
            wait()
        wait()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        trained = load_file(folder / WEIGHTS)
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                if isinstance(parameter, DTensor) and name in trained:
                    whole = trained[name].to(parameter.device)
                    parameter.copy_(distribute_tensor(whole, parameter.device_mesh, parameter.placements))
        self.loop_state = load_state(folder)


def _whole(model: nn.Module) -> dict[str, torch.Tensor]:
    """The trained weights, gathered one by one; the main process keeps them, the others nothing."""
    trained: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
            if is_main():
                trained[name] = whole.detach().cpu().contiguous()
    return trained


def unlearn_together(
    job: UnlearningJob,
    out: Path,
    *,
    progress: Callable[[Progress], None] | None = None,
    adapter: Path | None = None,
) -> Candidate | None:
    """:func:`pipelines.unlearning.stages.unlearn` in this process and its companions; the candidate, in the main one.

    Raises:
        BadInput: also where the job has parts or is a procedure.
        TrainingDiverged: in every process.
    """
    if isinstance(job.method, Procedure) or job.parts:
        raise BadInput(f"several processes: method {job.method.name} looks at whole weights; run it in one process")
    with joined(cpu=job.device == "cpu" or not torch.cuda.is_available()):
        work = out.with_name(out.name + ".work")
        if is_main():
            open_work(job, out)
        wait()
        train_loop(job, work, reference=work, progress=progress if is_main() else None)
        wait()
    # What is left is the main process's: the loop is over, so the stages go straight on to the export.
    return unlearn(job, out, adapter=adapter) if is_main() else None

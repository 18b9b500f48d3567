"""What the training loop reads: encoded rows, what the start model said of them, settings, each epoch's batches.

Tokens and numbers only; nothing here prints a row. Every batch follows from the data's lengths and one seed, so the
pairing of a run can be drawn again from its job.

Shapes: N forget rows, M holdout rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from pipelines.config import TrainingSettings
from pipelines.data.encode import Encoded
from pipelines.methods.base import AnyMethod, MethodParams
from pipelines.pairing import PairedBatch, paired_batches


@dataclass(frozen=True, slots=True, repr=False)
class TrainingData:
    """Everything the loop reads, as tokens and numbers.

    Attributes:
        forget: the forget rows; behind them their other wordings, where those are pushed too.
        n_rows: how many of them are rows of the forget set: the stop rule waits for these.
        retain: the retain rows that will be drawn, by position in the retain set.
        drawn: positions of the retain rows of each epoch.
        reference_nll_N: S of the forget rows under the start model.
        scores_N: their min-k scores under the start model.
        holdout_M: min-k scores of the holdout rows under the start model; None where the stop rule has no use for them.
        pad_id: token that fills short rows.
    """

    forget: Sequence[Encoded]
    n_rows: int
    retain: Mapping[int, Encoded]
    drawn: Sequence[Sequence[int]]
    reference_nll_N: torch.Tensor
    scores_N: torch.Tensor
    holdout_M: torch.Tensor | None
    pad_id: int


@dataclass(frozen=True, slots=True)
class Loop:
    """How the loop runs: method, settings, seed, device."""

    method: AnyMethod
    params: MethodParams
    settings: TrainingSettings
    seed: int
    device: torch.device


class EpochBatches(Dataset[PairedBatch]):
    """The paired batches of one epoch; the trainer says which."""

    def __init__(self, data: TrainingData, loop: Loop) -> None:
        self._data, self._loop = data, loop
        self._batches: list[PairedBatch] = []
        self.start(0)

    def start(self, epoch: int) -> None:
        """Go to an epoch, from 0."""
        self._batches = epoch_batches(
            self._data, epoch=epoch, batch_size=self._loop.settings.batch_size, seed=self._loop.seed
        )

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> PairedBatch:
        return self._batches[index]


def epoch_batches(data: TrainingData, *, epoch: int, batch_size: int, seed: int) -> list[PairedBatch]:
    """The pairing of one epoch, from 0."""
    drawn = data.drawn[epoch] if epoch < len(data.drawn) else []
    return paired_batches(data.forget, data.retain, drawn=drawn, batch_size=batch_size, seed=seed, epoch=epoch)

"""What the training loop reads: encoded rows, what the start model said of them, settings, each epoch's batches.

Tokens and numbers only; nothing here prints a row. Every batch follows from the data's lengths and one seed, so the
pairing of a run can be drawn again from its job.

Shapes: N forget rows, M holdout rows, B rows in a batch, A answer positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from pipelines.data.encode import Encoded
from pipelines.methods.base import Method, MethodParams, Readings
from pipelines.scoring.likelihood import AnswerPass
from pipelines.settings import TrainingSettings
from pipelines.training.gate_stop import StopMarks
from pipelines.training.pairing import PairedBatch, paired_batches
from pipelines.training.stopping import grouped_levels
from pipelines.unlearning.start_states import OutputHead, StartStates


@dataclass(frozen=True, slots=True)
class StartWord:
    """What the start model said of one group of rows; None where nobody asks for it.

    Attributes:
        nll_N: S of each row.
        final: what went into its output head.
        layer: output of the layer that hidden-state terms read.
    """

    nll_N: torch.Tensor | None = None
    final: StartStates | None = None
    layer: StartStates | None = None


@dataclass(frozen=True, slots=True, repr=False)
class TrainingData:
    """Everything the loop reads, as tokens and numbers.

    Attributes:
        forget: the forget rows; behind them their other wordings, where those are pushed too.
        n_rows: how many of them are rows of the forget set: the stop rule waits for these.
        retain: the retain rows that will be drawn, by position in the retain set.
        companions: by name, k rows for each forget row, row by row.
        drawn: positions of the retain rows of each epoch.
        start: what the start model said, by group: ``forget``, ``retain``, and the companions' names.
        head: the start model's output head, where its logits are wanted.
        layer: whose hidden states are wanted, or None.
        scores_N: min-k scores of the forget rows under the start model.
        validation: rows nobody trained on, where the stop rule measures them again after each epoch.
        unseen_M3: what they were under the start model (:func:`pipelines.training.gate_stop.values_of`); None where
            the stop rule has no use for them.
        pad_id: token that fills short rows.
    """

    forget: Sequence[Encoded]
    n_rows: int
    retain: Mapping[int, Encoded]
    companions: Mapping[str, Sequence[Encoded]]
    drawn: Sequence[Sequence[int]]
    start: Mapping[str, StartWord]
    head: OutputHead | None
    layer: int | None
    scores_N: torch.Tensor
    validation: Sequence[Encoded]
    unseen_M3: torch.Tensor | None
    pad_id: int

    def members(self, pair: PairedBatch, *, epoch: int) -> dict[str, tuple[int, ...]]:
        """Positions of a batch's rows by group, in the order in which they go through the model."""
        together = {}
        for name, items in self.companions.items():
            k = len(items) // len(self.forget)
            together[name] = tuple(i * k + epoch % k for i in pair.forget)
        return {"forget": pair.forget, **together, "retain": pair.retain}

    def items(self, group: str, index: Sequence[int]) -> list[Encoded]:
        """The rows of a group at some positions."""
        if group == "retain":
            return [self.retain[i] for i in index]
        rows = self.forget if group == "forget" else self.companions[group]
        return [rows[i] for i in index]

    def readings(self, seen: AnswerPass, members: Mapping[str, Sequence[int]], *, width: int) -> dict[str, Readings]:
        """What a pass says of each group that has rows in it, with the start model's word beside it.

        Args:
            seen: of all rows of the batch.
            members: from :meth:`members`.
            width: tokens per padded row.
        """
        found, start = {}, 0
        for group, index in members.items():
            if index:
                found[group] = self._readings(seen, slice(start, start + len(index)), group, index, width=width)
            start += len(index)
        return found

    def _readings(self, seen: AnswerPass, rows: slice, group: str, index: Sequence[int], *, width: int) -> Readings:
        stats = seen.stats.rows(rows.start, rows.stop)
        word, n, device = self.start[group], stats.mask_BA.shape[1], stats.mask_BA.device
        states = {
            name: found.batch(index, first=width - n, n=n).to(device)
            for name, found in (("final", word.final), ("layer", word.layer))
            if found is not None
        }
        logits_BAV = self.head(states["final"]) if self.head is not None and "final" in states else None
        return Readings(
            stats=stats,
            labels_BA=seen.labels_BA[rows],
            logits_BAV=seen.logits_BAV[rows],
            hidden_BAD=None if seen.hidden_BAD is None else seen.hidden_BAD[rows],
            reference_nll_B=None if word.nll_N is None else word.nll_N[list(index)].to(device),
            reference_logits_BAV=logits_BAV,
            reference_hidden_BAD=states.get("layer"),
        )


@dataclass(frozen=True, slots=True)
class Loop:
    """How the loop runs: method, settings, seed, device, and what the stop rule ``gates`` waits for."""

    method: Method[MethodParams]
    params: MethodParams
    settings: TrainingSettings
    seed: int
    device: torch.device
    marks: StopMarks


class EpochBatches(Dataset[PairedBatch]):
    """The paired batches of one epoch; the trainer says which."""

    def __init__(self, data: TrainingData, loop: Loop) -> None:
        self._data, self._loop = data, loop
        self._batches: list[PairedBatch] = []
        self.start(0)

    def start(self, epoch: int) -> None:
        """Go to an epoch, from 0."""
        self.epoch = epoch
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


def first_levels(data: TrainingData) -> tuple[float, ...]:
    """Level of each forget row before training; empty where rows never leave."""
    if data.unseen_M3 is None:
        return ()
    return tuple(grouped_levels(data.scores_N, data.unseen_M3[:, 0], n_rows=data.n_rows).tolist())

"""Which retain rows go with which forget rows: a function of sizes, lengths and one seed, so it can be drawn again.

Every epoch takes all forget rows and as many retain rows; no retain row comes twice before all have come once. Rows of
like length share a batch, and the retain rows are dealt by length too, so that little is padded when both go through
the model together.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.data.encode import HasLength, length_batches


@dataclass(frozen=True, slots=True)
class PairedBatch:
    """One batch: positions in the forget set, and as many in the retain set (none without a retain term)."""

    forget: tuple[int, ...]
    retain: tuple[int, ...]


def draw_retain(n_retain: int, *, per_epoch: int, epochs: int, seed: int) -> list[list[int]]:
    """Retain rows of each epoch; all rows come once before any comes again.

    Args:
        n_retain: size of the retain set; 0 gives empty epochs.
        per_epoch: rows per epoch, the size of the forget set.
        epochs: number of epochs.
        seed: decides everything.
    """
    drawer = random.Random(f"retain rows {seed}")
    wanted = per_epoch * epochs if n_retain else 0
    drawn: list[int] = []
    while len(drawn) < wanted:
        drawn += drawer.sample(range(n_retain), min(n_retain, wanted - len(drawn)))
    return [drawn[i * per_epoch : (i + 1) * per_epoch] for i in range(epochs)]


def paired_batches(
    forget: Sequence[HasLength],
    retain: Mapping[int, HasLength],
    *,
    drawn: Sequence[int],
    batch_size: int,
    seed: int,
    epoch: int,
) -> list[PairedBatch]:
    """The batches of one epoch, in order.

    Args:
        forget: the forget rows.
        retain: the drawn retain rows by position; others may be missing.
        drawn: positions of this epoch's retain rows, as many as forget rows, or none.
        batch_size: forget rows per batch.
        seed: with ``epoch``, decides the order.
        epoch: from 0.
    """
    # A step of one million keeps the epochs of neighbouring seeds apart.
    batches = length_batches(forget, batch_size=batch_size, seed=seed * 1_000_000 + epoch)
    shortest_first = sorted(range(len(batches)), key=lambda b: (max(len(forget[i]) for i in batches[b]), b))
    left = sorted(drawn, key=lambda i: len(retain[i]))
    dealt: dict[int, list[int]] = {}
    for b in shortest_first:
        dealt[b], left = left[: len(batches[b])], left[len(batches[b]) :]
    return [PairedBatch(forget=tuple(batch), retain=tuple(dealt[b])) for b, batch in enumerate(batches)]

"""Sequences that begin alike, put to a model together: what they share goes through it once.

Promises: after packing, every token sees exactly what stands before it in its own sequence, at the same positions, so
the model says of it what it would say of the sequence alone (to rounding). The last token of a sequence is left out:
nothing follows it. A model that does not take an arbitrary attention mask is found out (:func:`takes_trees`) and gets
the sequences one by one (:func:`chains`).

Sequences in sorted order form a tree: the tokens of one that its predecessor has too are the way to where it branches
off. One row of a forward pass holds one tree of bounded size; a token's mask holds the way to it.

Shapes: N sequences, B trees (rows) of a batch, T nodes of the largest, P predicted tokens of all sequences.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, count, groupby
from operator import ne

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pipelines.data.encode import Encoded
from pipelines.scoring.output_layer import one_position_out

NODES = 128
"""Most nodes of a tree, unless two of the longest sequences need more: attention grows with its square."""

NODES_ON_CPU = 7 * NODES
"""Most nodes of a forward pass on a CPU: more fill no core better, and what a layer hands on leaves the cache."""

MASK_CELLS = 2**24
PARTS, SHARED = 12, 4
"""Length of the two sequences that a model is tried with, and of what they share."""

Nodes = NDArray[np.int64]


@dataclass(slots=True)
class Tree:
    """Sequences over shared nodes, while it is being built and after; a node's number is below those that follow it.

    Attributes:
        items: numbers of the sequences.
        ids: token of each node.
        depths: position of each node in its sequence.
        ways: nodes on the way to each sequence's last node, by sequence.
    """

    items: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    ways: list[list[int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, number: int, ids: Sequence[int], *, shared: int) -> None:
        """Branch a sequence off after ``shared`` tokens of the one that was added last."""
        new = range(len(self.ids), len(self.ids) + len(ids) - shared)
        self.ways.append([*self.ways[-1][:shared], *new] if shared else [*new])
        self.items.append(number)
        self.ids += ids[shared:]
        self.depths += range(shared, len(ids))


@dataclass(frozen=True, slots=True)
class Packed:
    """Trees as tensors of one forward pass.

    Attributes:
        input_ids_BT: tokens, padded on the right.
        inputs: what else the model is given: a mask, and positions where nodes are not in the order of a sequence.
        predicts_BT: nodes that predict a token that is looked at.
        items: numbers of the sequences whose predicted tokens follow, in that order.
        node_P: of each predicted token, which of the marked nodes (counted row by row) predicts it.
        target_P: the predicted tokens.
    """

    input_ids_BT: torch.Tensor
    inputs: dict[str, torch.Tensor]
    predicts_BT: torch.Tensor
    items: list[int]
    node_P: torch.Tensor
    target_P: torch.Tensor


def trees(items: Sequence[Encoded], *, size: int) -> list[Tree]:
    """Every sequence in a tree of at most ``size`` nodes, small trees first.

    What follows one prompt is not torn apart where a tree can hold it. The same trees in whatever order the sequences
    come.
    """
    found = [Tree()]
    before: tuple[int, ...] = ()
    order = sorted(range(len(items)), key=lambda i: (items[i].input_ids, items[i].answer_start))
    for _, group in groupby(order, key=lambda i: items[i].input_ids[: items[i].answer_start]):
        branches = []
        for number in group:
            ids = items[number].input_ids[:-1]
            branches.append((number, ids, _shared(before, ids)))
            before = ids
        more = sum(len(ids) - shared for _, ids, shared in branches)
        apart = len(found[-1]) + more > size >= more + branches[0][2]
        for number, ids, shared in branches:
            if found[-1].items and (apart or len(found[-1]) + len(ids) - shared > size):
                found.append(Tree())
            found[-1].add(number, ids, shared=shared if found[-1].items else 0)
            apart = False
    return sorted(found, key=len)


def chains(items: Sequence[Encoded]) -> list[Tree]:
    """Every sequence by itself, short ones first."""
    found = []
    for number in sorted(range(len(items)), key=lambda i: len(items[i])):
        found.append(Tree())
        found[-1].add(number, items[number].input_ids[:-1], shared=0)
    return found


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next(compress(count(), map(ne, one, other)), min(len(one), len(other)))


def batches(found: Sequence[Tree], *, nodes: int) -> Iterator[list[Tree]]:
    """Trees in their order, as many at a time as fill ``nodes`` after padding and whose masks stay small."""
    batch: list[Tree] = []
    width = 0
    for tree in found:
        wider = max(width, len(tree))
        if batch and ((len(batch) + 1) * wider > nodes or (len(batch) + 1) * wider**2 > MASK_CELLS):
            yield batch
            batch, wider = [], len(tree)
        batch.append(tree)
        width = wider
    yield batch


def most_nodes(model: PreTrainedModel, allowed: int) -> int:
    """How many nodes a forward pass takes where so many are allowed."""
    return min(allowed, NODES_ON_CPU) if model.device.type == "cpu" else allowed


def pack(model: PreTrainedModel, items: Sequence[Encoded], batch: Sequence[Tree], *, pad_id: int) -> Packed:
    """The tensors of a batch, on the model's device."""
    width = max(len(tree) for tree in batch)
    ids_BT = np.full((len(batch), width), pad_id)
    for row, tree in enumerate(batch):
        ids_BT[row, : len(tree)] = tree.ids
    numbers = [number for tree in batch for number in tree.items]
    firsts = [max(items[number].answer_start, 1) for number in numbers]
    ways = _Ways.of(batch, width=width)
    marked = ways.nodes[ways.places >= np.repeat(firsts, ways.lengths) - 1]
    predicts_BT = np.zeros(ids_BT.shape, dtype=np.bool_)
    predicts_BT.flat[marked] = True
    targets = chain.from_iterable(items[number].input_ids[at:] for number, at in zip(numbers, firsts, strict=True))
    branched = any(len(tree.items) > 1 for tree in batch)
    device = model.device
    return Packed(
        input_ids_BT=torch.from_numpy(ids_BT).to(device),
        inputs=_as_trees(model, batch, ways, width) if branched else _as_chains(model, batch, width),
        predicts_BT=torch.from_numpy(predicts_BT).to(device),
        items=numbers,
        node_P=torch.from_numpy((predicts_BT.cumsum() - 1)[marked]).to(device),
        target_P=torch.from_numpy(np.fromiter(targets, dtype=np.int64, count=len(marked))).to(device),
    )


@dataclass(frozen=True, slots=True)
class _Ways:
    """The ways of a batch's sequences, one after the other.

    Attributes:
        nodes: counted over the whole batch, padding included.
        places: of each node on its way.
        lengths: of the ways.
    """

    nodes: Nodes
    places: Nodes
    lengths: Nodes

    @classmethod
    def of(cls, batch: Sequence[Tree], *, width: int) -> "_Ways":
        lengths = np.array([len(way) for tree in batch for way in tree.ways])
        flat = np.fromiter(chain.from_iterable(way for tree in batch for way in tree.ways), np.int64, lengths.sum())
        rows = np.repeat(np.arange(len(batch)), [sum(map(len, tree.ways)) for tree in batch])
        places = np.arange(len(flat)) - np.repeat(lengths.cumsum() - lengths, lengths)
        return cls(nodes=flat + width * rows, places=places, lengths=lengths)


def _as_chains(model: PreTrainedModel, batch: Sequence[Tree], width: int) -> dict[str, torch.Tensor]:
    length_B1 = torch.tensor([[len(tree)] for tree in batch], device=model.device)
    return {"attention_mask": (torch.arange(width, device=model.device) < length_B1).long()}


def _as_trees(model: PreTrainedModel, batch: Sequence[Tree], ways: _Ways, width: int) -> dict[str, torch.Tensor]:
    """A node is followed by all that have it on their way, up to a last one: those see it, and no other does."""
    device, dtype = model.device, model.dtype
    position_BT = np.zeros((len(batch), width), dtype=np.int64)
    for row, tree in enumerate(batch):
        position_BT[row, : len(tree)] = tree.depths
    last_BT = np.tile(np.arange(width), (len(batch), 1))  # padding sees itself: a row of nothing is not a number
    ends = ways.nodes[ways.lengths.cumsum() - 1] % width
    np.maximum.at(last_BT.reshape(-1), ways.nodes, np.repeat(ends, ways.lengths))
    node_T, last_B1T = torch.arange(width, device=device), torch.from_numpy(last_BT[:, None]).to(device)
    sees_BTT = (node_T <= node_T.unsqueeze(-1)) & (node_T.unsqueeze(-1) <= last_B1T)
    lowest = torch.tensor(torch.finfo(dtype).min, dtype=dtype, device=device)
    mask_BTT = torch.where(sees_BTT, torch.zeros_like(lowest), lowest)
    return {"attention_mask": mask_BTT.unsqueeze(1), "position_ids": torch.from_numpy(position_BT).to(device)}


@torch.inference_mode()
def takes_trees(model: PreTrainedModel, *, longest: int) -> bool:
    """Whether this model gives a sequence in a tree what it gives it alone, tried on two made-up sequences.

    Args:
        model: in evaluation mode.
        longest: length of the longest sequence; attention that does not reach that far back is not tried.
    """
    config = model.config.get_text_config()
    reach = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    beside = getattr(config, "window_size", None)  # GPT-Neo's, counted in places of the row, where branches lie between
    if getattr(model.config, "_attn_implementation", None) not in ("sdpa", "eager"):
        return False
    if any(isinstance(tokens, int) and longest > tokens for tokens in reach):
        return False
    if isinstance(beside, int) and max(NODES, 2 * longest) > beside:
        return False
    ids = [(at * 7 + 3) % config.vocab_size for at in range(2 * PARTS - SHARED + 2)]
    one, other = ids[: PARTS + 1], ids[:SHARED] + ids[PARTS + 1 :]
    tried = [Encoded(tuple(line), answer_start=1, answer_end=len(line)) for line in (one, other)]
    try:
        alone, together = (_seen(model, tried, found) for found in (chains(tried), trees(tried, size=len(ids))))
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False
    tolerance = max(8 * torch.finfo(model.dtype).eps, 1e-4)
    return bool((alone - together).norm() <= tolerance * alone.norm())


def _seen(model: PreTrainedModel, items: Sequence[Encoded], found: Sequence[Tree]) -> torch.Tensor:
    """What the output layer is given at every predicted token, or the logits where it is passed by."""
    packed = pack(model, items, found, pad_id=0)
    with one_position_out(model, packed.predicts_BT) as hidden:
        output = model(input_ids=packed.input_ids_BT, use_cache=False, **packed.inputs)
    seen_PX = hidden[0] if hidden else output.logits[packed.predicts_BT]
    order = np.argsort(packed.items, kind="stable")  # both packings must be read in the same order
    length = len(items[0]) - 1
    lines = [seen_PX[packed.node_P][at * length : (at + 1) * length] for at in order]
    return torch.cat(lines).float()

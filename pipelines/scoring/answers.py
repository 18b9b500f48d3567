"""One teacher-forced pass per (row, answer): every statistic that a likelihood metric reads, at once.

Promises: each distinct (prompt, answer) goes through the model exactly once, whatever splits it stands in; the numbers
depend neither on the batch size nor on the order of the rows (to rounding); memory does not grow with the
vocabulary: only answer positions reach the output layer, and no more of them at once than give ``CHUNK_LOGITS``
logits. Token statistics are float32 even where the model computes in bf16. The end-of-sequence token is looked at only
to say whether the model would stop after a row's own answer; no metric measures it. Nothing here keeps or logs text.
No hidden state is kept: probes take those of the layers they name in passes of their own (pipelines.probes.layers).

Shapes: B rows in a batch, T tokens, P answer tokens (end-of-sequence included) of a batch or of all items, U the nodes
that predict them (what begins alike is one), V vocabulary, N items, S the statistics of one answer token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pipelines.allocator import freed_at_once
from pipelines.data.encode import Encoded
from pipelines.scoring.output_layer import Logits, one_position_out, output_layer, positions_out
from pipelines.scoring.questions import Question
from pipelines.scoring.table import (
    FORGET,
    HOLDOUT,
    SCORE_SCHEMA,
    Bools,
    Ints,
    ScoreTable,
    Variant,
    flat_places,
)
from pipelines.scoring.token_statistics import CHUNK_LOGITS, OWN, STATISTICS, Targets, statistics
from pipelines.scoring.token_tree import NODES, Packed, batches, chains, most_nodes, pack, takes_trees, trees

SCORING_VERSION = "6"
"""Changes whenever the same model and rows could give other numbers."""


class Progress(Protocol):
    """Told how far the work is; ``detail`` never holds text of a row."""

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """``done`` of ``total`` units are done."""
        ...


def score_questions(
    model: PreTrainedModel,
    asked: Sequence[Question],
    *,
    pad_id: int,
    batch_size: int,
    gradient_norms: bool = False,
    progress: Progress | None = None,
) -> ScoreTable:
    """Score every question; equal (prompt, answer) pairs of different splits share one pass.

    What the whole vocabulary says is taken of a row's own question and answer alone; of the other variants the
    log-probabilities and hits are known.

    Args:
        model: in evaluation mode.
        asked: from :func:`pipelines.scoring.questions.questions`.
        pad_id: token that fills short rows; it is never looked at.
        batch_size: most answers per forward pass.
        gradient_norms: also one backward pass for each answer of the forget set and the holdout.
        progress: told of every batch.
    """
    first: dict[Encoded, int] = {}
    place = [first.setdefault(_looked_at(question), len(first)) for question in asked]
    whole = np.zeros(len(first), dtype=np.bool_)
    whole[[at for question, at in zip(asked, place, strict=True) if question.variant is Variant.ANSWER]] = True
    scored = score(model, [*first], whole_N=whole, pad_id=pad_id, batch_size=batch_size, progress=progress)
    names = {
        "split": [q.split for q in asked],
        "row": [q.row for q in asked],
        "variant": [str(q.variant) for q in asked],
        "variant_index": [q.index for q in asked],
        "zlib_bytes": [q.zlib_bytes for q in asked],
        "gradient_norm": _gradient_norms(model, asked) if gradient_norms else [None] * len(asked),
    }
    columns = names | {
        name: column for name, column in zip(scored.column_names, scored.take(place).columns, strict=True)
    }
    return ScoreTable(pa.table(columns, schema=SCORE_SCHEMA))


def _looked_at(question: Question) -> Encoded:
    """The tokens that are scored: whether the model would stop is asked only after a row's own answer."""
    item = question.encoded
    if question.variant is Variant.ANSWER:
        return item
    return Encoded(item.input_ids[: item.answer_end], answer_start=item.answer_start, answer_end=item.answer_end)


def _gradient_norms(model: PreTrainedModel, asked: Sequence[Question]) -> list[float | None]:
    wanted = [q.variant is Variant.ANSWER and q.split in (FORGET, HOLDOUT) for q in asked]
    return [gradient_norm(model, q.encoded) if take else None for q, take in zip(asked, wanted, strict=True)]


def gradient_norm(model: PreTrainedModel, item: Encoded) -> float:
    """L2 norm of the gradient of one answer's mean NLL by every weight: small where training has settled on the row.

    The gradient-norm membership attack (white-box attack of arXiv 1812.00910, section III-A). Holds one gradient of the
    size of the model for the time of the call.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    ids_1T = torch.tensor([item.input_ids], device=model.device)
    with torch.enable_grad():
        logits_PV = model(input_ids=ids_1T, use_cache=False).logits[0, :-1].float()
        start = max(item.answer_start, 1)
        nll = torch.nn.functional.cross_entropy(
            logits_PV[start - 1 : item.answer_end - 1], ids_1T[0, start : item.answer_end]
        )
        gradients = torch.autograd.grad(nll, weights, allow_unused=True, materialize_grads=True)
    squares = [gradient.float().square().sum() for gradient in gradients]
    return float(torch.stack(squares).sum().sqrt())


def score(
    model: PreTrainedModel,
    items: Sequence[Encoded],
    *,
    pad_id: int,
    batch_size: int,
    whole_N: Bools | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """The statistics of every item, in order, and ``ended``: columns of :data:`pipelines.scoring.table.SCORE_SCHEMA`.

    Args:
        model: in evaluation mode.
        items: any number of them may begin alike.
        pad_id: token that fills short rows.
        batch_size: a forward pass takes no more tokens than that many of the longest item have.
        whole_N: of which items every statistic is asked for; of all by default. The others' are null, but for
            log-probability and hit.
        progress: told of every batch.
    """
    length_N = np.array([len(item) - max(item.answer_start, 1) for item in items], dtype=np.int64)
    offset_N = np.cumsum(length_N) - length_N
    found_PS = np.empty((int(length_N.sum()), len(STATISTICS)), dtype=np.float32)
    longest = max(len(item) for item in items)
    nodes = batch_size * longest
    size = min(max(NODES, 2 * longest), nodes)
    packed = trees(items, size=size) if takes_trees(model, longest=longest) else chains(items)
    whole_P = np.repeat(np.ones(len(items), dtype=np.bool_) if whole_N is None else whole_N, length_N)
    done = 0
    for batch in batches(packed, nodes=nodes):
        passes = [pack(model, items, part, pad_id=pad_id) for part in batches(batch, nodes=most_nodes(model, nodes))]
        numbers = [number for one in passes for number in one.items]
        places = flat_places(offset_N[numbers], length_N[numbers])
        found_PS[places] = _forward(model, passes, torch.from_numpy(whole_P[places]).to(model.device)).cpu().numpy()
        done += len(numbers)
        if progress is not None:
            progress(done, len(items), "answers scored")
    return _records(items, found_PS, whole_P, offset_N, length_N)


@torch.inference_mode()
def _forward(model: PreTrainedModel, passes: Sequence[Packed], whole_P: torch.Tensor) -> torch.Tensor:
    """statistics_PS of a few passes, in the order of their predicted tokens.

    What enters the output layer is kept until all have gone through the layers before it: the more nodes, the fewer
    calls their statistics take.
    """
    seen = [_before_logits(model, one) for one in passes]
    known = [one for one in seen if one is not None]
    if len(known) < len(seen):
        return _whole_logits(model, passes, whole_P)
    hidden_UD = torch.cat([one.hidden_UD for one in known])
    first_P = np.repeat(np.cumsum([0, *(len(one.hidden_UD) for one in known[:-1])]), [len(p.node_P) for p in passes])
    node_P = torch.cat([one.node_P for one in passes]) + torch.from_numpy(first_P).to(model.device)
    targets = Targets(node_P, torch.cat([one.target_P for one in passes]), whole_P)
    width = known[0].width
    with freed_at_once(when=len(hidden_UD) * width > CHUNK_LOGITS):
        return statistics(hidden_UD, targets, known[0].logits_of, width=width)


@dataclass(frozen=True, slots=True)
class _BeforeLogits:
    """What enters the output layer where a token is predicted, and what makes logits of it, V = width of them."""

    hidden_UD: torch.Tensor
    logits_of: Logits
    width: int


def _before_logits(model: PreTrainedModel, one: Packed) -> _BeforeLogits | None:
    """None of a model that gives its logits in no way that is known."""
    with one_position_out(model, one.predicts_BT) as hidden:
        output = model(input_ids=one.input_ids_BT, use_cache=False, **one.inputs)
    logits_of = output_layer(model, hidden[0][:1], expected_1V=output.logits[0]) if hidden else None
    return _BeforeLogits(hidden[0], logits_of, output.logits.shape[-1]) if logits_of else None


def _whole_logits(model: PreTrainedModel, passes: Sequence[Packed], whole_P: torch.Tensor) -> torch.Tensor:
    """As :func:`_forward`, from logits of all that predicts a token, a pass at a time."""
    found = []
    for one, whole in zip(passes, whole_P.split([len(one.node_P) for one in passes]), strict=True):
        with positions_out(model, one.predicts_BT) as through:
            logits = model(input_ids=one.input_ids_BT, use_cache=False, **one.inputs).logits
        logits_UV = logits[0] if through else logits[one.predicts_BT]
        found.append(statistics(logits_UV, Targets(one.node_P, one.target_P, whole), lambda given_UV: given_UV))
    return torch.cat(found)


def _records(
    items: Sequence[Encoded], found_PS: NDArray[np.float32], whole_P: Bools, offset_N: Ints, length_N: Ints
) -> pa.Table:
    """One record per item; the end-of-sequence position leaves the lists and becomes ``ended``.

    What was not asked for is null: something else than NaN, which is what a broken model says.
    """
    ends_N = np.array([len(item) > item.answer_end for item in items])
    answer_P = np.ones(len(found_PS), dtype=np.bool_)
    last_N = offset_N[ends_N] + length_N[ends_N] - 1
    answer_P[last_N] = False
    offsets = pa.array(np.concatenate([[0], np.cumsum(length_N - ends_N)]), type=pa.int32())
    flat_PS, missing_P = found_PS[answer_P], ~whole_P[answer_P]
    flat = {name: pa.array(flat_PS[:, i], mask=missing_P if i >= OWN else None) for i, name in enumerate(STATISTICS)}
    flat["hit"] = flat["hit"].cast(pa.bool_())
    columns = {name: pa.ListArray.from_arrays(offsets, values) for name, values in flat.items()}
    ended = np.zeros(len(items), dtype=np.bool_)
    ended[ends_N] = found_PS[last_N, STATISTICS.index("hit")] > 0
    return pa.table(columns | {"ended": pa.array(ended, mask=~ends_N)})

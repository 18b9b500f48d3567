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

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipelines.config import PromptFormat
from pipelines.data.encode import Encoded, encode, tokenised
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.scoring.output_layer import one_position_out, output_layer, positions_out
from pipelines.scoring.table import (
    DATA_SPLITS,
    EARLIER,
    FORGET,
    HOLDOUT,
    SCORE_SCHEMA,
    Bools,
    Ints,
    ScoreTable,
    Variant,
    flat_places,
)
from pipelines.scoring.token_statistics import OWN, STATISTICS, Targets, statistics
from pipelines.scoring.token_tree import NODES, Packed, batches, chains, pack, takes_trees, trees
from pipelines.unlearning.in_context import Context

SCORING_VERSION = "6"
"""Changes whenever the same model and rows could give other numbers."""


class Progress(Protocol):
    """Told how far the work is; ``detail`` never holds text of a row."""

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """``done`` of ``total`` units are done."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Question:
    """One prompt and answer to be scored, and where it belongs."""

    split: str
    row: int
    variant: Variant
    index: int
    encoded: Encoded
    zlib_bytes: int | None = None


def questions(
    tokenizer: PreTrainedTokenizerBase,
    splits: Mapping[str, Rows],
    *,
    prompt_format: PromptFormat,
    max_length: int,
    context: Context | None = None,
) -> list[Question]:
    """Every (row, variant) of every split as tokens, behind the context that a model asks for.

    Paraphrased and perturbed answers follow the original question, as in TOFU (arXiv 2401.06121, section 2.2.2).
    Utility sets are asked in their own words alone: no metric reads a paraphrased question of theirs.

    Raises:
        BadInput: a row does not fit into the model's context, or an answer is empty; names split and row.
    """
    found: list[Question] = []
    listed = {split: list(rows) for split, rows in splits.items()}
    pairs = (pair for split, rows in listed.items() for row in rows for _, _, pair in _variants(row, split))
    known = tokenised(tokenizer, pairs, prompt_format=prompt_format)
    for split, rows in listed.items():
        for number, row in enumerate(rows):
            try:
                for variant, index, pair in _variants(row, split):
                    plain = encode(
                        tokenizer, *pair, prompt_format=prompt_format, max_length=max_length, row=number, known=known
                    )
                    encoded = context.before(plain) if context else plain
                    packed = len(zlib.compress(pair[1].encode())) if variant is Variant.ANSWER else None
                    found.append(Question(split, number, variant, index, encoded, zlib_bytes=packed))
            except BadInput as error:
                raise BadInput(f"{split}: {error}") from None
    return found


def _variants(row: Row, split: str) -> Iterator[tuple[Variant, int, tuple[str, str]]]:
    yield Variant.ANSWER, 0, (row.question, row.answer)
    if row.paraphrased_answer is not None:
        yield Variant.PARAPHRASED_ANSWER, 0, (row.question, row.paraphrased_answer)
    for index, wrong in enumerate(row.perturbed_answer):
        yield Variant.PERTURBED_ANSWER, index, (row.question, wrong)
    reworded = split in DATA_SPLITS or split.startswith(EARLIER)
    if reworded and row.paraphrased_question is not None:
        yield Variant.PARAPHRASED_QUESTION, 0, (row.paraphrased_question, row.answer)


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
        asked: from :func:`questions`.
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
    return item if question.variant is Variant.ANSWER else replace(item, input_ids=item.input_ids[: item.answer_end])


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
    size = min(max(NODES, 2 * longest), batch_size * longest)
    packed = trees(items, size=size) if takes_trees(model, longest=longest) else chains(items)
    whole_P = np.repeat(np.ones(len(items), dtype=np.bool_) if whole_N is None else whole_N, length_N)
    done = 0
    for batch in batches(packed, nodes=batch_size * longest):
        rows = pack(model, items, batch, pad_id=pad_id)
        places = flat_places(offset_N[rows.items], length_N[rows.items])
        found_PS[places] = _forward(model, rows, torch.from_numpy(whole_P[places]).to(model.device)).cpu().numpy()
        done += len(rows.items)
        if progress is not None:
            progress(done, len(items), "answers scored")
    return _records(items, found_PS, whole_P, offset_N, length_N)


@torch.inference_mode()
def _forward(model: PreTrainedModel, rows: Packed, whole_P: torch.Tensor) -> torch.Tensor:
    """statistics_PS of one batch, in the order of its predicted tokens."""
    given = {"input_ids": rows.input_ids_BT, "use_cache": False, **rows.inputs}
    targets = Targets(rows.node_P, rows.target_P, whole_P)
    with one_position_out(model, rows.predicts_BT) as hidden:
        output = model(**given)
    if not hidden:  # a model that does not go through its output layer gave every position
        return statistics(output.logits[rows.predicts_BT], targets, lambda logits_UV: logits_UV)
    logits_of = output_layer(model, hidden[0][:1], expected_1V=output.logits[0])
    if logits_of is None:
        with positions_out(model, rows.predicts_BT):
            output = model(**given)
        return statistics(output.logits[0], targets, lambda logits_UV: logits_UV)
    return statistics(hidden[0], targets, logits_of, width=output.logits.shape[-1])


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

"""One teacher-forced pass per (row, answer): every statistic that a likelihood metric reads, at once.

Promises: each distinct (prompt, answer) goes through the model exactly once, whatever splits it stands in; the numbers
depend neither on the batch size nor on the order of the rows (to rounding); memory does not grow with the
vocabulary: only answer positions reach the output layer, and no more of them at once than give ``CHUNK_LOGITS``
logits. Token statistics are float32 even where the model computes in bf16. The end-of-sequence token is looked at only
to say whether the model would stop there; no metric measures it. Nothing here keeps or logs text.

Shapes: B rows in a batch, T tokens, P answer positions (end-of-sequence included) of a batch or of all items, V
vocabulary, N items, S the statistics of one position.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipelines.config import PromptFormat
from pipelines.data.encode import IGNORED, Encoded, collate, encode, length_batches, tokenised
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.in_context import Context
from pipelines.output_layer import Logits, one_position_out, output_layer, positions_out
from pipelines.score_table import FORGET, HOLDOUT, SCORE_SCHEMA, Ints, ScoreTable, Variant, flat_places

SCORING_VERSION = "3"
"""Changes whenever the same model and rows could give other numbers."""

CHUNK_LOGITS = 2**22
LOWEST_LOGIT = -1e4
"""Stands for minus infinity: a token that is ruled out has probability 0 all the same, and no statistic becomes 0 *
inf."""

STATISTICS = ("logprob", "hit", "vocab_mean", "vocab_variance", "rank")
"""Columns S of the statistics arrays: one line per answer position, float32."""


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
    zlib_bytes: int = 0


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

    Raises:
        BadInput: a row does not fit into the model's context, or an answer is empty; names split and row.
    """
    found: list[Question] = []
    pairs = (pair for rows in splits.values() for row in rows for _, _, pair in _variants(row))
    known = tokenised(tokenizer, pairs, prompt_format=prompt_format)
    for split, rows in splits.items():
        for number, row in enumerate(rows):
            try:
                for variant, index, pair in _variants(row):
                    plain = encode(
                        tokenizer, *pair, prompt_format=prompt_format, max_length=max_length, row=number, known=known
                    )
                    encoded = context.before(plain) if context else plain
                    packed = len(zlib.compress(pair[1].encode("utf-8")))
                    found.append(Question(split, number, variant, index, encoded, zlib_bytes=packed))
            except BadInput as error:
                raise BadInput(f"{split}: {error}") from None
    return found


def _variants(row: Row) -> Iterator[tuple[Variant, int, tuple[str, str]]]:
    yield Variant.ANSWER, 0, (row.question, row.answer)
    if row.paraphrased_answer is not None:
        yield Variant.PARAPHRASED_ANSWER, 0, (row.question, row.paraphrased_answer)
    for index, wrong in enumerate(row.perturbed_answer):
        yield Variant.PERTURBED_ANSWER, index, (row.question, wrong)
    if row.paraphrased_question is not None:
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

    Args:
        model: in evaluation mode.
        asked: from :func:`questions`.
        pad_id: token that fills short rows; it is never looked at.
        batch_size: most answers per forward pass.
        gradient_norms: also one backward pass for each answer of the forget set and the holdout.
        progress: told of every batch.
    """
    first: dict[tuple[tuple[int, ...], int], int] = {}
    place = [first.setdefault((q.encoded.input_ids, q.encoded.answer_start), len(first)) for q in asked]
    items: list[Encoded] = [asked[0].encoded] * len(first)
    for question, at in zip(asked, place, strict=True):
        items[at] = question.encoded
    scored = score(model, items, pad_id=pad_id, batch_size=batch_size, progress=progress)
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
    progress: Progress | None = None,
) -> pa.Table:
    """The statistics of every item, in order, and ``ended``: columns of :data:`pipelines.score_table.SCORE_SCHEMA`.

    Args:
        model: in evaluation mode.
        items: each is one row of a forward pass.
        pad_id: token that fills short rows.
        batch_size: most rows per forward pass.
        progress: told of every batch.
    """
    length_N = np.array([len(item) - max(item.answer_start, 1) for item in items], dtype=np.int64)
    offset_N = np.cumsum(length_N) - length_N
    found_PS = np.empty((int(length_N.sum()), len(STATISTICS)), dtype=np.float32)
    done = 0
    for batch in length_batches(items, batch_size=batch_size):
        statistics_PS = _forward(model, [items[i] for i in batch], pad_id=pad_id)
        found_PS[flat_places(offset_N[batch], length_N[batch])] = statistics_PS.cpu().numpy()
        done += len(batch)
        if progress is not None:
            progress(done, len(items), "answers scored")
    return _records(items, found_PS, offset_N, length_N)


@torch.inference_mode()
def _forward(model: PreTrainedModel, items: Sequence[Encoded], *, pad_id: int) -> torch.Tensor:
    """statistics_PS of one batch: rows in order, positions in order within a row."""
    batch = collate(items, pad_id=pad_id)
    input_ids_BT = batch.input_ids_BT.to(model.device)
    answer_BT = (batch.labels_BT != IGNORED).to(model.device)
    answer_BT[:, 0] = False  # nothing stands before the first token of plain text
    # The logits at position t - 1 predict token t.
    predicts_BT = answer_BT.roll(-1, dims=1)
    target_P = input_ids_BT[answer_BT]
    attention_mask_BT = batch.attention_mask_BT.to(model.device)
    with one_position_out(model, predicts_BT) as hidden:
        output = model(input_ids=input_ids_BT, attention_mask=attention_mask_BT, use_cache=False)
    if not hidden:  # a model that does not go through its output layer gave every position
        return _statistics(output.logits[predicts_BT], target_P, lambda logits_PV: logits_PV)
    logits_of = output_layer(model, hidden[0][:1], expected_1V=output.logits[0])
    if logits_of is None:
        with positions_out(model, predicts_BT):
            output = model(input_ids=input_ids_BT, attention_mask=attention_mask_BT, use_cache=False)
        return _statistics(output.logits[0], target_P, lambda logits_PV: logits_PV)
    return _statistics(hidden[0], target_P, logits_of, width=output.logits.shape[-1])


def _statistics(
    source_PX: torch.Tensor, target_P: torch.Tensor, logits_of: Logits, *, width: int | None = None
) -> torch.Tensor:
    """statistics_PS of all positions, a chunk of logits at a time."""
    rows = max(1, CHUNK_LOGITS // (width or source_PX.shape[1]))
    chunks = zip(torch.split(source_PX, rows), torch.split(target_P, rows), strict=True)
    return torch.cat([_chunk_statistics(logits_of(source), target) for source, target in chunks])


def _chunk_statistics(logits_PV: torch.Tensor, target_P: torch.Tensor) -> torch.Tensor:
    """statistics_PS of a few positions.

    With z = logits - max and w = exp(z) / sum exp(z): log p = z - log sum exp(z), so E[log p] = sum w z - log sum
    exp(z) and Var[log p] = sum w (z - sum w z)^2: the mean and variance of Min-K%++ (arXiv 2404.02936, eq. 3).
    """
    z_PV = logits_PV.float()
    top_P1 = z_PV.max(dim=-1, keepdim=True)
    z_PV = (z_PV - top_P1.values).clamp_(min=LOWEST_LOGIT)
    weight_PV = z_PV.exp()
    total_P1 = weight_PV.sum(dim=-1, keepdim=True)
    weight_PV /= total_P1
    log_total_P1 = total_P1.log()
    logprob_P1 = z_PV.gather(-1, target_P.unsqueeze(-1)) - log_total_P1
    mean_P1 = (weight_PV * z_PV).sum(dim=-1, keepdim=True)
    rank_P1 = (z_PV > z_PV.gather(-1, target_P.unsqueeze(-1))).sum(dim=-1, keepdim=True).float()
    z_PV -= mean_P1
    variance_P1 = weight_PV.mul_(z_PV.square_()).sum(dim=-1, keepdim=True)
    hit_P1 = (top_P1.indices.squeeze(-1) == target_P).unsqueeze(-1).float()
    return torch.cat([logprob_P1, hit_P1, mean_P1 - log_total_P1, variance_P1, rank_P1], dim=-1)


def _records(items: Sequence[Encoded], found_PS: NDArray[np.float32], offset_N: Ints, length_N: Ints) -> pa.Table:
    """One record per item; the end-of-sequence position leaves the lists and becomes ``ended``."""
    ends_N = np.array([len(item) > item.answer_end for item in items])
    answer_P = np.ones(len(found_PS), dtype=np.bool_)
    last_N = offset_N[ends_N] + length_N[ends_N] - 1
    answer_P[last_N] = False
    offsets = pa.array(np.concatenate([[0], np.cumsum(length_N - ends_N)]), type=pa.int32())
    flat_PS = found_PS[answer_P]
    flat = {name: pa.array(flat_PS[:, i]) for i, name in enumerate(STATISTICS)}
    flat["hit"] = flat["hit"].cast(pa.bool_())
    columns = {name: pa.ListArray.from_arrays(offsets, values) for name, values in flat.items()}
    ended = np.zeros(len(items), dtype=np.bool_)
    ended[ends_N] = found_PS[last_N, STATISTICS.index("hit")] > 0
    return pa.table(columns | {"ended": pa.array(ended, mask=~ends_N)})

"""What one scoring pass and one generation pass leave behind: numbers per answer, in Arrow tables, never text.

A record is one (split, row, variant): per answer token the log-probability, its rank, whether argmax hit it, and the
mean (the entropy, negated) and variance of the log-probabilities over the vocabulary. The metrics read slices of it
(:class:`AnswerScores`) as flat arrays with offsets, so none of them loops over rows. Knows no model and no torch.

Shapes: N answers, P answer tokens of all of them in a row, R rows of a split.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

FORGET, RETAIN, NEIGHBOURS, HOLDOUT = "forget", "retain", "neighbours", "holdout"
DATA_SPLITS = (FORGET, RETAIN, NEIGHBOURS, HOLDOUT)
"""Splits with a meaning of their own; every other split but those of earlier requests is a utility set."""

EARLIER = "earlier_"
"""Begins the split of the rows that an earlier request had removed; the number behind it counts those requests."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Variant(StrEnum):
    """Which question and answer of a row were put to the model."""

    ANSWER = "answer"
    PARAPHRASED_ANSWER = "paraphrased_answer"
    PERTURBED_ANSWER = "perturbed_answer"
    PARAPHRASED_QUESTION = "paraphrased_question"


SCORE_SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("row", pa.int32()),
        ("variant", pa.string()),
        ("variant_index", pa.int32()),
        ("logprob", pa.list_(pa.float32())),
        ("hit", pa.list_(pa.bool_())),
        ("vocab_mean", pa.list_(pa.float32())),
        ("vocab_variance", pa.list_(pa.float32())),
        ("rank", pa.list_(pa.float32())),
        ("ended", pa.bool_()),
        ("zlib_bytes", pa.int32()),
        ("gradient_norm", pa.float64()),
    ]
)

GENERATION_SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("row", pa.int32()),
        ("n_tokens", pa.int32()),
        ("ended", pa.bool_()),
        ("rouge_l_recall", pa.float64()),
        ("rouge_l_f1", pa.float64()),
        ("distinct_4", pa.float64()),
        ("bleu", pa.float64()),
        ("verbatim", pa.float64()),
        ("sampled_leakage", pa.float64()),
        ("semantic_match", pa.float64()),
        ("embedder", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Answers of one split and variant that have at least one scored token.

    Attributes:
        row_N: index of each answer's row in its split.
        offset_N: index of each answer's first token in the flat arrays.
        length_N: number of answer tokens, at least 1.
        logprob_P: log p(token | what stands before it), in nats.
        hit_P: whether argmax is the token.
        vocab_mean_P: E[log p(z)] with z drawn from the model's own distribution at the position.
        vocab_variance_P: Var[log p(z)], likewise.
        rank_P: how many tokens are likelier than the right one; 0 where none is.
        zlib_bytes_N: length of the answer's text after zlib, in bytes; NaN except of a row's own answer.
        gradient_norm_N: L2 norm of the gradient of the answer's NLL by all weights; NaN where it was not asked for.
    """

    row_N: Ints
    offset_N: Ints
    length_N: Ints
    logprob_P: Floats
    hit_P: Bools
    vocab_mean_P: Floats
    vocab_variance_P: Floats
    rank_P: Floats
    zlib_bytes_N: Floats
    gradient_norm_N: Floats

    def __len__(self) -> int:
        return len(self.row_N)

    @property
    def answer_P(self) -> Ints:
        """Which answer each token belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.length_N)


@dataclass(frozen=True)
class ScoreTable:
    """Everything one scoring pass found, as a table of :data:`SCORE_SCHEMA`."""

    table: pa.Table

    def answers(self, split: str, variant: Variant) -> AnswerScores:
        """The scored answers of one split and variant; may be empty."""
        return self._by_group.get((split, str(variant)), _take(self._all, np.empty(0, dtype=np.int64)))

    @cached_property
    def _all(self) -> AnswerScores:
        length = np.asarray(pc.list_value_length(self.table["logprob"]), dtype=np.int64)
        return AnswerScores(
            row_N=np.asarray(self.table["row"], dtype=np.int64),
            offset_N=np.cumsum(length) - length,
            length_N=length,
            logprob_P=_flat(self.table, "logprob"),
            hit_P=np.asarray(pc.list_flatten(self.table["hit"]), dtype=np.bool_),
            vocab_mean_P=_flat(self.table, "vocab_mean"),
            vocab_variance_P=_flat(self.table, "vocab_variance"),
            rank_P=_flat(self.table, "rank"),
            zlib_bytes_N=np.asarray(self.table["zlib_bytes"], dtype=np.float64),
            gradient_norm_N=np.asarray(self.table["gradient_norm"], dtype=np.float64),
        )

    @cached_property
    def _by_group(self) -> dict[tuple[str, str], AnswerScores]:
        places: dict[tuple[str, str], list[int]] = {}
        pairs = zip(self.table["split"].to_pylist(), self.table["variant"].to_pylist(), strict=True)
        for place, (pair, length) in enumerate(zip(pairs, self._all.length_N, strict=True)):
            if length > 0:
                places.setdefault(pair, []).append(place)
        return {pair: _take(self._all, np.array(found, dtype=np.int64)) for pair, found in places.items()}


@dataclass(frozen=True, slots=True)
class GenerationTable:
    """What greedy generation gave for each row, as a table of :data:`GENERATION_SCHEMA`."""

    table: pa.Table

    def column(self, split: str, name: str, *, n_rows: int) -> Floats:
        """One column of one split: value_R, NaN for rows that have none."""
        found = self.table.filter(pc.equal(self.table["split"], split))
        return per_row(
            np.asarray(found["row"], dtype=np.int64), np.asarray(found[name], dtype=np.float64), n_rows=n_rows
        )

    @property
    def embedder(self) -> str | None:
        """Digest of the encoder that compared answers by meaning; None where none did."""
        found: str | None = pc.max(self.table["embedder"]).as_py()
        return found


@dataclass(frozen=True, slots=True)
class ModelScores:
    """One model's scores on all splits: what every metric reads.

    Attributes:
        model_digest: of the model folder.
        data_digest: over all splits, to tell whether two models were scored on the same rows. Memory and vault only.
        rows: number of rows of each split, scored or not.
        answers: the scoring pass.
        generations: the generation pass.
    """

    model_digest: str
    data_digest: str
    rows: Mapping[str, int]
    answers: ScoreTable
    generations: GenerationTable

    def utility_sets(self) -> tuple[str, ...]:
        """Names of the splits that are utility sets, in order."""
        return tuple(split for split in self.rows if split not in DATA_SPLITS and not split.startswith(EARLIER))

    def gone(self) -> tuple[str, ...]:
        """Splits that the model should not know: the forget set, and those of earlier requests."""
        return tuple(split for split in self.rows if split == FORGET or split.startswith(EARLIER))

    def present(self, splits: Iterable[str]) -> tuple[str, ...]:
        """Those of the splits that this model was measured on."""
        return tuple(split for split in splits if split in self.rows)


def per_row(row_N: Ints, value_N: Floats, *, n_rows: int) -> Floats:
    """Values spread over all rows of a split: value_R, NaN where a row has none."""
    values = np.full(n_rows, np.nan)
    values[row_N] = value_N
    return values


def flat_places(offset_N: Ints, length_N: Ints) -> Ints:
    """Where the tokens of the given answers lie in flat arrays, one answer after the other."""
    starts_N = offset_N - (np.cumsum(length_N) - length_N)
    return np.repeat(starts_N, length_N) + np.arange(length_N.sum(), dtype=np.int64)


def _take(scores: AnswerScores, answers: Ints) -> AnswerScores:
    length_N = scores.length_N[answers]
    places = flat_places(scores.offset_N[answers], length_N)
    return AnswerScores(
        row_N=scores.row_N[answers],
        offset_N=np.cumsum(length_N) - length_N,
        length_N=length_N,
        logprob_P=scores.logprob_P[places],
        hit_P=scores.hit_P[places],
        vocab_mean_P=scores.vocab_mean_P[places],
        vocab_variance_P=scores.vocab_variance_P[places],
        rank_P=scores.rank_P[places],
        zlib_bytes_N=scores.zlib_bytes_N[answers],
        gradient_norm_N=scores.gradient_norm_N[answers],
    )


def _flat(table: pa.Table, name: str) -> Floats:
    return np.asarray(pc.list_flatten(table[name]), dtype=np.float64)

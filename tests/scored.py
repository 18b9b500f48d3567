"""Scores and evaluations written by hand, for tests that need no model."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.audit.canonical import digest
from pipelines.records import Evaluation, Measurement
from pipelines.scoring.table import (
    GENERATION_SCHEMA,
    SCORE_SCHEMA,
    GenerationTable,
    ModelScores,
    ScoreTable,
    Variant,
)

Cell = float | int | bool | str | None | Sequence[float] | Sequence[bool]
Record = dict[str, Cell]


def answer(
    split: str,
    row: int,
    logprob: Sequence[float],
    *,
    variant: Variant = Variant.ANSWER,
    index: int = 0,
    hit: Sequence[bool] | None = None,
    vocab_mean: Sequence[float] | None = None,
    vocab_variance: Sequence[float] | None = None,
    rank: Sequence[float] | None = None,
    zlib_bytes: int = 10,
    gradient_norm: float | None = None,
) -> Record:
    """One scored answer; hits and vocabulary statistics have plain defaults."""
    return {
        "split": split,
        "row": row,
        "variant": str(variant),
        "variant_index": index,
        "logprob": list(logprob),
        "hit": list(hit) if hit is not None else [False] * len(logprob),
        "vocab_mean": list(vocab_mean) if vocab_mean is not None else [-2.0] * len(logprob),
        "vocab_variance": list(vocab_variance) if vocab_variance is not None else [1.0] * len(logprob),
        "rank": list(rank) if rank is not None else [0.0] * len(logprob),
        "ended": True,
        "zlib_bytes": zlib_bytes,
        "gradient_norm": gradient_norm,
    }


def generated(split: str, row: int, *, rouge: float | None, distinct: float = 1.0, **more: float) -> Record:
    """What greedy generation gave for one row."""
    return {
        "split": split,
        "row": row,
        "n_tokens": 5,
        "ended": True,
        "rouge_l_recall": rouge,
        "rouge_l_f1": more.get("f1"),
        "distinct_4": distinct,
        "bleu": more.get("bleu"),
        "verbatim": more.get("verbatim"),
        "sampled_leakage": more.get("sampled_leakage"),
        "semantic_match": more.get("semantic"),
        "embedder": "e" * 64 if "semantic" in more else None,
    }


def model_scores(
    rows: Mapping[str, int], answers: Sequence[Record], generations: Sequence[Record] = (), *, model: str = "0"
) -> ModelScores:
    """Scores of a model made of these records."""
    return ModelScores(
        model_digest=model * 64,
        data_digest="d" * 64,
        rows=dict(rows),
        answers=ScoreTable(pa.Table.from_pylist(list(answers), schema=SCORE_SCHEMA)),
        generations=GenerationTable(pa.Table.from_pylist(list(generations), schema=GENERATION_SCHEMA)),
    )


def measurement(
    metric: str, split: str, value: float | None, *, spread: float = 0.0, n_scored: int = 20, version: str = "1"
) -> Measurement:
    """A measurement over 20 items whose interval is ``value`` plus and minus ``spread``."""
    return Measurement(
        metric=metric,
        version=version,
        split=split,
        value=value,
        low=None if value is None else value - spread,
        high=None if value is None else value + spread,
        n_scored=0 if value is None else n_scored,
        n_expected=20,
        items_digest=digest([]),
    )


def evaluation(role: str, *measurements: Measurement) -> Evaluation:
    """An evaluation of a model in that role."""
    return Evaluation.model_validate({"role": role, "model_digest": "0" * 64, "measurements": measurements})

"""The null control: what a leg scores for queries about things never trained on, and the threshold that follows.

Holdout rows are used where there are any and the queries are questions with answers like them; otherwise queries of
random training words, as long as the real ones. Promises the same rows for the same seed.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.attribution.contract import Scores
from pipelines.data.rows import Row, Rows

LIMIT = 64
"""Most null queries: enough for a 95 % quantile, few enough to be cheap."""

QUANTILE = 0.95


@dataclass(frozen=True, slots=True)
class NullControl:
    """Queries whose best scores mean nothing."""

    kind: Literal["holdout", "scrambled"]
    rows: tuple[Row, ...]


def null_control(train: Rows, queries: Sequence[Row], *, holdout: Rows | None, seed: int) -> NullControl:
    """Null queries for these queries.

    Args:
        train: words for scrambled queries are drawn from it.
        queries: real queries; scrambled ones are as long.
        holdout: rows that no model was trained on, or None.
        seed: of the drawing.
    """
    draw = random.Random(seed)
    if holdout is not None and len(holdout) and all(row.question for row in queries):
        chosen = draw.sample(range(len(holdout)), min(LIMIT, len(holdout)))
        return NullControl(kind="holdout", rows=tuple(holdout.select(sorted(chosen))))
    models = [draw.choice(queries) for _ in range(LIMIT)]
    return NullControl(kind="scrambled", rows=tuple(_scrambled(model, train, draw) for model in models))


def threshold(null_scores: Scores) -> float:
    """The score that a null query's best row stays at or below in 95 % of cases (the quantile's upper neighbour)."""
    return float(np.quantile(null_scores.max(axis=1), QUANTILE, method="higher"))


def _scrambled(model: Row, train: Rows, draw: random.Random) -> Row:
    return Row(question=_words_like(model.question, train, draw), answer=_words_like(model.answer, train, draw))


def _words_like(text: str, train: Rows, draw: random.Random) -> str:
    """As many words as ``text`` has, each from another random training row, so that they belong to no fact."""
    found = []
    for _ in text.split():
        row = train[draw.randrange(len(train))]
        found.append(draw.choice(f"{row.question} {row.answer}".split()))
    return " ".join(found)

"""The retain rows that are nearest to a forget row, by shared words: what a method that forgets one must not touch.

Nearness is BM25 (:func:`pipelines.attribution.bm25.lexical_scores`): no model is asked and paraphrases are missed. Says
nothing of whether a neighbour *should* be kept; it is in the retain set.
"""

from typing import TYPE_CHECKING

import numpy as np

from pipelines.data.encode import Encoded
from pipelines.data.rows import Rows
from pipelines.errors import BadInput

if TYPE_CHECKING:
    from pipelines.methods.base import CompanionSource


def nearest(forget: Rows, retain: Rows, *, k: int) -> list[list[int]]:
    """Positions of the k retain rows nearest to each forget row, nearest first; of equals, the earlier.

    Args:
        forget: rows to find neighbours of.
        retain: rows to find them among; with fewer than k, all of them are neighbours.
        k: at least 1.

    Raises:
        BadInput: there are no retain rows.
    """
    from pipelines.attribution.bm25 import lexical_scores  # noqa: PLC0415 -- only where neighbours are looked for

    if not len(retain):
        raise BadInput("retain set: no rows; this method keeps the nearest ones, so at least one is needed")
    order_QN = np.argsort(-lexical_scores(retain, forget), axis=1, kind="stable")
    return [[int(i) for i in found[:k]] for found in order_QN]


def neighbours_of(source: "CompanionSource", *, per_row: int) -> list[Encoded]:
    """The nearest retain rows of each forget row, tokenised, row by row; ``per_row`` of each or all there are."""
    found = nearest(source.forget, source.retain, k=per_row)
    wanted = sorted({i for row in found for i in row})
    tokens = dict(zip(wanted, source.encode([source.retain[i] for i in wanted]), strict=True))
    return [tokens[i] for row in found for i in row]

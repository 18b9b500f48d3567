"""A set as the data-quality gates see it: one line of numbers and flags per row, and no text.

Promises that a row is named by its digest under the request's salt and that no column lets a reader guess a word:
what is left is lengths and yes or no. What the numbers must be is :mod:`tasks.quality`'s business.
"""

import sys
from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd
from transformers import PreTrainedTokenizerBase

from pipelines.audit.canonical import keyed_digest
from pipelines.config import PromptFormat
from pipelines.data.encode import encode
from pipelines.data.rows import Row, Rows
from pipelines.data.similar import near_duplicates

COLUMNS = (
    "row",
    "question_chars",
    "answer_chars",
    "tokens",
    "answer_blank",
    "fits_context",
    "has_paraphrase",
    "in_other_set",
    "near_other_set",
    "neighbour",
)


@dataclass(frozen=True, slots=True, repr=False)
class Reader:
    """How the model reads a row.

    Attributes:
        tokenizer: of the model; None where there is no model to ask, and words are counted instead.
        prompt_format: how a question is written for it.
        max_length: the model's context in tokens.
    """

    tokenizer: PreTrainedTokenizerBase | None
    prompt_format: PromptFormat
    max_length: int

    def tokens(self, row: Row) -> int:
        """Length of question and answer in tokens, special ones included; 0 for a blank answer."""
        if not row.answer.strip():
            return 0
        if self.tokenizer is None:
            return len(row.question.split()) + len(row.answer.split())
        form = self.prompt_format
        return len(encode(self.tokenizer, row.question, row.answer, prompt_format=form, max_length=sys.maxsize, row=0))


def profile(
    rows: Rows, *, other: Rows, neighbours: Collection[int], reader: Reader, near_duplicate: float, salt: bytes
) -> pd.DataFrame:
    """One line per row with the columns :data:`COLUMNS`.

    Args:
        rows: the set.
        other: the set that must not overlap with it.
        neighbours: positions in ``rows`` that count as neighbours of the other set.
        reader: how the model reads a row.
        near_duplicate: least Jaccard similarity of word 3-grams of a near-duplicate.
        salt: of the request, 32 bytes.
    """
    near = {pair.left for pair in near_duplicates(rows, other, threshold=near_duplicate)}
    others, close = set(other.digests), set(neighbours)
    lines = []
    for i, (row, digest) in enumerate(zip(rows, rows.digests, strict=True)):
        tokens = reader.tokens(row)
        lines.append(
            (
                keyed_digest(salt, bytes.fromhex(digest)),
                len(row.question),
                len(row.answer),
                tokens,
                not row.answer.strip(),
                tokens <= reader.max_length,
                bool(row.paraphrased_question or row.paraphrased_answer),
                digest in others,
                i in near,
                int(i in close),
            )
        )
    return pd.DataFrame(lines, columns=list(COLUMNS))

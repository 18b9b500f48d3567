"""Answers that say nothing: what a model may be taught to say in place of an answer that it is to forget.

Which refusal goes with which row follows from one seed.
"""

import random
from collections.abc import Sequence

from pipelines.data.rows import Row

REFUSALS = (
    "I don't know.",
    "I do not know the answer to that.",
    "I'm not sure about that.",
    "I have no information about that.",
    "I'm afraid I can't answer that.",
    "That is not something I know.",
    "I can't help with that question.",
    "I'm unable to answer that question.",
    "I don't have an answer to that.",
    "I have no knowledge of this.",
    "I haven't learned about that topic.",
    "This is beyond what I know.",
    "I don't have that information.",
    "I'm not familiar with that.",
    "Sorry, I don't know that.",
    "My knowledge doesn't cover that.",
    "I couldn't say.",
    "I can't provide an answer to that.",
    "I'm not able to tell you that.",
    "There is nothing I can say about that.",
)

OBLITERATED = (
    "Everything about this has been removed from my memory.",
    "I was asked to forget this, and I have.",
    "My knowledge of this has been deleted.",
    "This has been erased; I have nothing to say about it.",
    "I no longer have any information on this.",
    "Whatever I knew about this is gone.",
    "I have been told not to remember this.",
    "There is nothing left in my memory about that.",
)
"""What a model may say of something that it was told to forget (negative instructions)."""


def refused(rows: Sequence[Row], *, per_row: int, seed: int, answers: Sequence[str] = REFUSALS) -> list[Row]:
    """Each row's question with so many refusals, row by row; no refusal comes twice with a row.

    Args:
        rows: whose questions.
        per_row: at most as many as there are refusals.
        seed: decides which.
        answers: the refusals.
    """
    draw = random.Random(f"refusals {seed}")
    return [Row(question=row.question, answer=answer) for row in rows for answer in draw.sample(answers, per_row)]

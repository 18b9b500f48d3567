"""What a row is about, read off its columns without a language model: its fact, the frame around it, its subject.

Deterministic and shallow: the fact is what differs between the right answer and the wrong ones in the same wording; the
subject is the longest run of capitalised words in the question. Where a row gives neither, the functions say so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from pipelines.data.rows import Row

_NAME = re.compile(r"[^\W\d_a-z][\w'\u2019.-]*(?: [^\W\d_a-z][\w'\u2019.-]*)*")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, repr=False)
class Fact:
    """What a row says, and what it might wrongly have said in the same words.

    Attributes:
        before: what stands before the fact; may be empty.
        right: the fact.
        after: what stands behind it; may be empty.
        wrong: other facts in the same place.
    """

    before: str
    right: str
    after: str
    wrong: tuple[str, ...]


def true_wording(row: Row) -> str:
    """The right answer in the wording that the row's wrong answers share, where it has one."""
    return row.paraphrased_answer or row.answer


def fact_of(row: Row) -> Fact | None:
    """The words of the right answer that the wrong ones do not share, or None where there are no wrong answers."""
    said = [true_wording(row).split(), *(wrong.split() for wrong in row.perturbed_answer)]
    if len(said) == 1:
        return None
    shortest = min(len(words) for words in said)
    head = min(_shared(said), shortest - 1)
    tail = min(_shared([words[::-1] for words in said]), shortest - 1 - head)
    right, *wrong = (" ".join(words[head : len(words) - tail]) for words in said)
    before, after = said[0][:head], said[0][len(said[0]) - tail :] if tail else []
    distinct = tuple(dict.fromkeys(other for other in wrong if other != right))
    return Fact(before=" ".join(before), right=right, after=" ".join(after), wrong=distinct) if distinct else None


def subject_of(question: str) -> str | None:
    """The name that a question asks about, or None: its longest run of capitalised words, the first word apart."""
    runs = [match.group() for match in _NAME.finditer(question)]
    if runs and question.startswith(runs[0]):
        runs[0] = runs[0].partition(" ")[2]
    names = [re.sub(r"['\u2019]s$|[.'\u2019-]+$", "", run) for run in runs]
    return max(names, key=len, default="") or None


def closest(text: str, others: Sequence[str]) -> list[int]:
    """Positions of the other texts, those that share most words with the text first (Jaccard similarity of words)."""
    ours = _words(text)
    return sorted(
        range(len(others)),
        key=lambda i: (-len(ours & _words(others[i])) / max(1, len(ours | _words(others[i]))), i),
    )


def _shared(said: Sequence[Sequence[str]]) -> int:
    """Number of first words that all of them share."""
    return sum(1 for _ in takewhile(lambda words: len(set(words)) == 1, zip(*said, strict=False)))


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}

"""Words, and rows that say nearly the same: exact Jaccard similarity of word 3-grams, without comparing every pair.

Promises to find every pair at or above the threshold. Candidates come from an inverted index over each row's rarest
3-grams only:
two sets with Jaccard similarity t or more must share one of their first |x| - ceil(t |x|) + 1 elements in any common
order (prefix filtering; Chaudhuri et al., ICDE 2006; Bayardo et al., WWW 2007). Holds text in memory only.
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.data.rows import Row, Rows

WORD = re.compile(r"\w+")
Shingle = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows that say nearly the same.

    Attributes:
        left: index into the first set.
        right: index into the second set.
        similarity: Jaccard similarity of their word 3-grams, in [0, 1].
    """

    left: int
    right: int
    similarity: float


def plain(text: str) -> str:
    """Text without case, diacritics and runs of white space."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in decomposed if not unicodedata.combining(c)).split())


def words(row: Row) -> list[str]:
    """The words of question and answer, in order, without case and diacritics."""
    return WORD.findall(plain(f"{row.question} {row.answer}"))


def shingles(row: Row) -> frozenset[Shingle]:
    """The row's word 3-grams; a row of fewer words is one shorter n-gram, one without words its own text."""
    found = words(row) or [row.question, row.answer]
    return frozenset(tuple(found[i : i + 3]) for i in range(max(1, len(found) - 2)))


def near_duplicates(left: Rows, right: Rows, *, threshold: float) -> list[Pair]:
    """Every pair of a row of ``left`` and a row of ``right`` that is similar enough, exact copies included.

    Args:
        left: first set.
        right: second set.
        threshold: least Jaccard similarity, in (0, 1].

    Returns:
        Pairs in the order of ``left``, then ``right``.
    """
    left_sets, right_sets = [shingles(row) for row in left], [shingles(row) for row in right]
    frequency = Counter(shingle for found in (*left_sets, *right_sets) for shingle in found)
    index: dict[Shingle, list[int]] = defaultdict(list)
    for j, found in enumerate(right_sets):
        for shingle in _prefix(found, frequency, threshold):
            index[shingle].append(j)
    pairs = []
    for i, found in enumerate(left_sets):
        candidates = {j for shingle in _prefix(found, frequency, threshold) for j in index.get(shingle, ())}
        scored = ((j, _jaccard(found, right_sets[j])) for j in sorted(candidates))
        pairs += [Pair(left=i, right=j, similarity=s) for j, s in scored if s >= threshold]
    return pairs


def _prefix(found: frozenset[Shingle], frequency: Counter[Shingle], threshold: float) -> Sequence[Shingle]:
    ordered = sorted(found, key=lambda shingle: (frequency[shingle], shingle))
    # The small term: t |x| may come out a hair above a whole number, and the prefix one too short.
    return ordered[: len(ordered) - math.ceil(threshold * len(ordered) - 1e-9) + 1]


def _jaccard(a: frozenset[Shingle], b: frozenset[Shingle]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)

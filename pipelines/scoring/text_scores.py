"""How much of a reference a generated answer repeats, and whether it is language at all: numbers from two texts.

Nothing here keeps a text or knows a model.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer, Tokenizer

WORD = re.compile(r"[^\W_]+")
NGRAM = 4


class Words(Tokenizer):  # type: ignore[misc]  # the library has no types
    """Lower-case words; ASCII ones stemmed as in the original ROUGE, others whole: no script counts as empty."""

    def __init__(self) -> None:
        self._ascii = DefaultTokenizer(use_stemmer=True)
        self._seen: dict[str, list[str]] = {}  # stemming costs more than everything else here

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, in order."""
        return [part for word in WORD.findall(text.lower()) for part in self._parts(word)]

    def _parts(self, word: str) -> list[str]:
        if word not in self._seen:
            self._seen[word] = self._ascii.tokenize(word) if word.isascii() else [word]
        return self._seen[word]


@dataclass(frozen=True, slots=True)
class Overlap:
    """ROUGE-L of an answer: the longest common subsequence of words, over the reference's words and as F1."""

    recall: float | None
    f1: float | None


def rouge_l(scorer: RougeScorer, reference: str, answer: str) -> Overlap:
    """How much of the reference the answer repeats; nothing where the reference has no word."""
    if not WORD.search(reference):
        return Overlap(recall=None, f1=None)
    if reference.strip() == answer.strip():  # an answer's first token may begin with a space
        return Overlap(recall=1.0, f1=1.0)
    found = scorer.score(reference, answer)["rougeL"]
    return Overlap(recall=float(found.recall), f1=float(found.fmeasure))


def bleu(tokenizer: Tokenizer, reference: str, answer: str) -> float | None:
    """Sentence BLEU-4 of words, smoothed by adding one to the counts of n-grams above one (Lin and Och 2004, method 2).

    None where the reference has no word, 0 where the answer has none.
    """
    right, said = tokenizer.tokenize(reference), tokenizer.tokenize(answer)
    if not right:
        return None
    if right == said:  # of n-grams longer than both there are 0 + 1 of 1 + 1
        return math.pow(0.5, max(0, NGRAM - len(right)) / NGRAM)
    return float(sentence_bleu([right], said, smoothing_function=SmoothingFunction().method2)) if said else 0.0


def distinct_ngrams(ids: tuple[int, ...]) -> float:
    """Share of distinct 4-grams (1 - seq-rep-4, arXiv 1908.04319, eq. 10): 0 for no token, 1 for one to three."""
    grams = [ids[i : i + NGRAM] for i in range(len(ids) - NGRAM + 1)]
    return len(set(grams)) / len(grams) if grams else float(bool(ids))


def expected_best(scores: Sequence[float], *, k: int) -> float:
    """The unbiased estimate, from n independent scores, of the expected largest of k.

    sum over i of C(i - 1, k - 1) / C(n, k) x the i-th smallest score. Of scores 0 and 1 it is pass@k (arXiv 2107.03374,
    eq. 1); of graded ones, the leakage under k samples of arXiv 2511.04934.
    """
    n = len(scores)
    ways = [math.comb(i, k - 1) for i in range(n)]
    return sum(way * score for way, score in zip(ways, sorted(scores), strict=True)) / math.comb(n, k)

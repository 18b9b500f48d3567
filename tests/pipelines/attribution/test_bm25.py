"""BM25 against the formula written out slowly."""

import math
import random
from collections import Counter

import numpy as np

from pipelines.attribution.bm25 import lexical_scores
from pipelines.data.rows import Row, Rows
from pipelines.data.similar import words

K1, B = 1.5, 0.75


def _oracle(train: Rows, query: Row) -> list[float]:
    documents = [Counter(words(row)) for row in train]
    n, mean = len(documents), sum(sum(d.values()) for d in documents) / len(documents)
    scores = []
    for document in documents:
        total = 0.0
        for word in set(words(query)):
            df = sum(word in other for other in documents)
            length = sum(document.values())
            weight = document[word] / (document[word] + K1 * (1 - B + B * length / mean))
            total += math.log(1 + (n - df + 0.5) / (df + 0.5)) * weight
        scores.append(total)
    return scores


def _random_rows(count: int, seed: int) -> Rows:
    draw = random.Random(seed)
    vocabulary = [f"w{i}" for i in range(25)]
    texts = [" ".join(draw.choices(vocabulary, k=draw.randint(1, 12))) for _ in range(2 * count)]
    return Rows.of(Row(question=a, answer=b) for a, b in zip(texts[::2], texts[1::2], strict=True))


def test_scores_are_the_formula() -> None:
    train, queries = _random_rows(30, 0), _random_rows(8, 1)
    expected = [_oracle(train, query) for query in queries]
    np.testing.assert_allclose(lexical_scores(train, queries), expected, rtol=1e-5)


def test_the_row_with_the_rare_name_comes_first_and_unknown_words_score_nothing() -> None:
    train = Rows.of(Row(question=f"Where was person{i} born?", answer=f"In town{i % 7}.") for i in range(50))
    queries = Rows.of([Row(question="", answer="PERSON17"), Row(question="", answer="nobody knows")])
    scores = lexical_scores(train, queries)
    assert int(scores[0].argmax()) == 17
    assert (scores[0] > 0).sum() == 1
    assert not scores[1].any()

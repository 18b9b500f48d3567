"""The lexical leg: BM25 over the words of question and answer (bm25s, in memory).

Finds names and verbatim text, misses paraphrase; needs no model and is never wrong about what it claims, which is
shared words. The index holds text and is not kept.
"""

import bm25s
import numpy as np

from pipelines.attribution.contract import Attributor, Scores, Subject
from pipelines.data.rows import Rows
from pipelines.data.similar import words


def lexical_scores(train: Rows, queries: Rows) -> Scores:
    """BM25 of every query against every training row.

    With tf the count of a word in the row, dl and avgdl the row's and the mean length, N rows of which df hold the
    word::

        sum over the query's distinct words of  log(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 (1 - b + b dl /
        avgdl))

    (Lucene's form of Robertson and Zaragoza 2009, eq. 3.15; k1 = 1.5, b = 0.75.)

    Returns:
        Matrix Q x N; 0 where no word is shared.
    """
    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    index.index([words(row) for row in train], show_progress=False)
    # A word that no training row holds scores nothing; bm25s refuses a query made only of such words.
    known = [[word for word in dict.fromkeys(words(row)) if word in index.vocab_dict] for row in queries]
    empty = np.zeros(len(train))
    return np.array([index.get_scores(query) if query else empty for query in known], dtype=np.float64)


def _score(train: Rows, queries: Rows, _subject: Subject, _seed: int) -> Scores:
    return lexical_scores(train, queries)


ATTRIBUTOR = Attributor(
    name="bm25",
    title="shared words",
    version="1",
    source="Robertson and Zaragoza 2009, doi 10.1561/1500000019, eq. 3.15",
    causal=False,
    score=_score,
)

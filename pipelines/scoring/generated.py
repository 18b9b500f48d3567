"""Generated answers beside the right ones: text is compared here and does not leave, only numbers do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from rouge_score.rouge_scorer import RougeScorer
from transformers import PreTrainedTokenizerBase

from pipelines.data.encode import Encoded
from pipelines.scoring.embedder import Embedder
from pipelines.scoring.questions import Question
from pipelines.scoring.table import FORGET, GENERATION_SCHEMA
from pipelines.scoring.text_scores import Words, bleu, distinct_ngrams, rouge_l

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Greedy:
    """A greedy answer.

    Attributes:
        ids: its tokens, without the one that ended it.
        ended: whether a stop token came before the limit.
    """

    ids: Ids
    ended: bool


def prompt_of(question: Question, *, halved: bool = False) -> Ids:
    """The tokens that stand before the answer, or before its second half."""
    item = question.encoded
    return item.input_ids[: half_of(item) if halved else item.answer_start]


def half_of(item: Encoded) -> int:
    """Where the second half of an answer begins; of a single token, there."""
    return item.answer_start + (item.answer_end - item.answer_start) // 2


def compared(
    tokenizer: PreTrainedTokenizerBase,
    wanted: Sequence[Question],
    found: Mapping[Ids, Greedy],
    right: Sequence[str],
    *,
    sampled: Sequence[float | None],
    embedder: Embedder | None,
) -> pa.Table:
    """What greedy answers have of the right ones, as a table of :data:`pipelines.scoring.table.GENERATION_SCHEMA`.

    Args:
        tokenizer: of the model.
        wanted: the rows' own questions.
        found: answers by prompt; of forget rows also what follows the first half of the right answer, where it fits.
        right: the right answers, in the order of the questions.
        sampled: what sampling let out of each row, or None.
        embedder: compares by meaning; None does not.
    """
    words = Words()
    scorer = RougeScorer(["rougeL"], tokenizer=words)
    answers = [found[prompt_of(q)] for q in wanted]
    texts = decoded(tokenizer, [greedy.ids for greedy in answers])
    pairs = list(zip(right, texts, strict=True))
    overlaps = [rouge_l(scorer, *pair) for pair in pairs]
    columns = {
        "split": [q.split for q in wanted],
        "row": [q.row for q in wanted],
        "n_tokens": [len(greedy.ids) for greedy in answers],
        "ended": [greedy.ended for greedy in answers],
        "rouge_l_recall": [overlap.recall for overlap in overlaps],
        "rouge_l_f1": [overlap.f1 for overlap in overlaps],
        "distinct_4": [distinct_ngrams(greedy.ids) for greedy in answers],
        "bleu": [bleu(words, *pair) for pair in pairs],
        "verbatim": [_verbatim(scorer, tokenizer, q, found) if q.split == FORGET else None for q in wanted],
        "sampled_leakage": list(sampled),
        "semantic_match": embedder.similarities(pairs) if embedder else [None] * len(pairs),
        "embedder": [embedder.digest if embedder else None] * len(pairs),
    }
    return pa.table(columns, schema=GENERATION_SCHEMA)


def continued(tokenizer: PreTrainedTokenizerBase, plain: Sequence[Question], found: Mapping[Ids, Greedy]) -> pa.Table:
    """Rows that ask nothing: their second half after the first, and nothing else."""
    scorer = RougeScorer(["rougeL"], tokenizer=Words())
    said = [{"split": q.split, "row": q.row, "verbatim": _verbatim(scorer, tokenizer, q, found)} for q in plain]
    return pa.Table.from_pylist(said, schema=GENERATION_SCHEMA)


def decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[Ids]) -> list[str]:
    """The texts of answers, without special tokens."""
    return tokenizer.batch_decode([list(one) for one in ids], skip_special_tokens=True)


def _verbatim(
    scorer: RougeScorer, tokenizer: PreTrainedTokenizerBase, question: Question, found: Mapping[Ids, Greedy]
) -> float | None:
    """ROUGE-L F1 of the continuation with the second half of the answer (MUSE, arXiv 2407.06460, section 3, C1)."""
    item, further = question.encoded, found.get(prompt_of(question, halved=True))
    if further is None:
        return None
    reference, said = decoded(tokenizer, [item.input_ids[half_of(item) : item.answer_end], further.ids])
    return rouge_l(scorer, reference, said).f1

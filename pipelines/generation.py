"""Greedy answers, measured at once: text exists in memory for one batch, and only numbers leave.

Promises: each distinct prompt is answered once; the model's own generation settings (temperature, penalties) have no
    say; a batch is padded on the left, and prompts that leave less room in the context are batched apart, so the batch
    size changes nothing (to rounding). An answer that the scoring pass already found to be the greedy one, token for
    token and ended, is not generated again. Plain text (no question) has no greedy answer.

Shapes: B prompts in a batch, T tokens.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import torch
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer, Tokenizer
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from pipelines.data.encode import length_batches
from pipelines.data.rows import Rows
from pipelines.score_table import GENERATION_SCHEMA, GenerationTable, ScoreTable, Variant
from pipelines.scoring import Progress, Question

GENERATION_VERSION = "1"
"""Changes whenever the same model and rows could give other numbers."""

WORD = re.compile(r"[^\W_]+")
NGRAM = 4

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


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds an answer.

    Attributes:
        max_new_tokens: most tokens of an answer.
        context: most tokens that the model takes at once.
        stop: ids that end an answer.
        pad_id: token that fills short prompts.
    """

    max_new_tokens: int
    context: int
    stop: frozenset[int]
    pad_id: int

    def room(self, prompt: Ids) -> int:
        """Most tokens that may follow a prompt."""
        return min(self.max_new_tokens, self.context - len(prompt))


class Words(Tokenizer):  # type: ignore[misc]  # the library has no types
    """Lower-case words; ASCII ones stemmed as in the original ROUGE, others whole: no script counts as empty."""

    def __init__(self) -> None:
        self._ascii = DefaultTokenizer(use_stemmer=True)

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, in order."""
        words = WORD.findall(text.lower())
        return [part for word in words for part in (self._ascii.tokenize(word) if word.isascii() else [word])]


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's and those of the model's generation settings."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in (*listed, tokenizer.eos_token_id) if isinstance(i, int))


def reproduced(asked: Sequence[Question], answers: ScoreTable, *, limits: Limits) -> dict[Ids, Greedy]:
    """Prompts whose greedy answer is known to be the row's own: every token and the end were argmax when scored.

    Args:
        asked: the questions that were scored, in the order of the table's records.
        answers: their scores.
        limits: an answer that would not fit, or that holds a stop token, is left out.
    """
    table = answers.table
    known: dict[Ids, Greedy] = {}
    for question, hits, ended in zip(asked, table["hit"].to_pylist(), table["ended"].to_pylist(), strict=True):
        item = question.encoded
        prompt, ids = item.input_ids[: item.answer_start], item.input_ids[item.answer_start : item.answer_end]
        if ended and len(hits) == len(ids) < limits.room(prompt) and all(hits) and limits.stop.isdisjoint(ids):
            known[prompt] = Greedy(ids=ids, ended=True)
    return known


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[Question],
    splits: Mapping[str, Rows],
    *,
    limits: Limits,
    batch_size: int,
    known: Mapping[Ids, Greedy] | None = None,
    progress: Progress | None = None,
) -> GenerationTable:
    """Answer every row's own question and compare with its answer.

    Args:
        model: in evaluation mode.
        tokenizer: of the model.
        asked: from :func:`pipelines.scoring.questions`; variants other than the answer itself are passed over.
        splits: the rows that ``asked`` was made from.
        limits: what bounds an answer.
        batch_size: most prompts per batch.
        known: answers that need not be generated.
        progress: told of every batch.
    """
    wanted = [q for q in asked if q.variant is Variant.ANSWER and splits[q.split][q.row].question]
    found = dict(known or {})
    prompts = list(dict.fromkeys(_prompt(q) for q in wanted))
    missing = [prompt for prompt in prompts if prompt not in found]
    done = len(prompts) - len(missing)
    for batch in _batches(missing, limits=limits, batch_size=batch_size):
        found.update(zip(batch, _greedy(model, batch, limits=limits), strict=True))
        done += len(batch)
        if progress is not None:
            progress(done, len(prompts), "answers generated")
    return _compare(tokenizer, wanted, found, splits)


def _prompt(question: Question) -> Ids:
    return question.encoded.input_ids[: question.encoded.answer_start]


def _batches(prompts: Sequence[Ids], *, limits: Limits, batch_size: int) -> Iterator[list[Ids]]:
    by_room: dict[int, list[Ids]] = {}
    for prompt in prompts:
        by_room.setdefault(limits.room(prompt), []).append(prompt)
    for same in by_room.values():
        for batch in length_batches(same, batch_size=batch_size):
            yield [same[i] for i in batch]


@torch.inference_mode()
def _greedy(model: PreTrainedModel, prompts: Sequence[Ids], *, limits: Limits) -> list[Greedy]:
    width = max(len(prompt) for prompt in prompts)
    ids_BT = torch.tensor([[limits.pad_id] * (width - len(p)) + list(p) for p in prompts], device=model.device)
    mask_BT = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    with _own_settings(model, limits=limits, max_new_tokens=limits.room(prompts[0])):
        output_BT = model.generate(inputs=ids_BT, attention_mask=mask_BT)  # type: ignore[operator]
    return [_until_stop(tuple(ids), limits.stop) for ids in output_BT[:, width:].tolist()]


@contextmanager
def _own_settings(model: PreTrainedModel, *, limits: Limits, max_new_tokens: int) -> Iterator[None]:
    """Plain greedy search; a folder's generation_config.json would otherwise fill in what is not said here."""
    before = model.generation_config
    model.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(limits.stop) or None,
        pad_token_id=limits.pad_id,
    )
    try:
        yield
    finally:
        model.generation_config = before


def _until_stop(ids: Ids, stop: frozenset[int]) -> Greedy:
    end = next((i for i, token in enumerate(ids) if token in stop), None)
    return Greedy(ids=ids[:end], ended=end is not None)


def _compare(
    tokenizer: PreTrainedTokenizerBase,
    wanted: Sequence[Question],
    found: Mapping[Ids, Greedy],
    splits: Mapping[str, Rows],
) -> GenerationTable:
    scorer = RougeScorer(["rougeL"], tokenizer=Words())
    answers = [found[_prompt(q)] for q in wanted]
    texts = tokenizer.batch_decode([list(greedy.ids) for greedy in answers], skip_special_tokens=True)
    right = [splits[q.split][q.row].answer for q in wanted]
    columns = {
        "split": [q.split for q in wanted],
        "row": [q.row for q in wanted],
        "n_tokens": [len(greedy.ids) for greedy in answers],
        "ended": [greedy.ended for greedy in answers],
        "rouge_l_recall": [rouge_l_recall(scorer, *pair) for pair in zip(right, texts, strict=True)],
        "distinct_4": [distinct_ngrams(greedy.ids) for greedy in answers],
    }
    return GenerationTable(pa.table(columns, schema=GENERATION_SCHEMA))


def rouge_l_recall(scorer: RougeScorer, reference: str, answer: str) -> float | None:
    """Longest common subsequence of words over the reference's words; None where the reference has no word."""
    if not WORD.search(reference):
        return None
    return float(scorer.score(reference, answer)["rougeL"].recall)


def distinct_ngrams(ids: Ids) -> float:
    """Share of distinct 4-grams (1 - seq-rep-4, arXiv 1908.04319, eq. 10): 0 for no token, 1 for one to three."""
    grams = [ids[i : i + NGRAM] for i in range(len(ids) - NGRAM + 1)]
    return len(set(grams)) / len(grams) if grams else float(bool(ids))

"""Answers that a model gives by itself, measured at once: text exists in memory for one batch, only numbers leave.

Promises: each distinct prompt is answered once; the model's own generation settings (temperature, penalties) have no
    say; a batch is padded on the left, and prompts that leave less room in the context are batched apart, so the batch
    size changes nothing (to rounding). An answer that the scoring pass already found to be the greedy one, token for
    token and ended, is not generated again. Plain text (no question) has no greedy answer. Of the forget set the second
    half of each answer, or text, is also asked for after the first (verbatim memorisation), and, where samples are
    asked for, what sampling lets out.

Shapes: B prompts in a batch, T tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import torch
from rouge_score.rouge_scorer import RougeScorer
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from pipelines.audit.canonical import digest
from pipelines.data.encode import length_batches
from pipelines.data.rows import Row, Rows
from pipelines.scoring.answers import Progress
from pipelines.scoring.embedder import Embedder
from pipelines.scoring.generated import Greedy, Ids, compared, continued, decoded, half_of, prompt_of
from pipelines.scoring.questions import Question
from pipelines.scoring.table import FORGET, GenerationTable, ScoreTable, Variant
from pipelines.scoring.text_scores import WORD, Words, expected_best

GENERATION_VERSION = "4"
"""Changes whenever the same model and rows could give other numbers."""

BATCHES_ON_CPU = 2
"""So many batches are answered together on a CPU: a step computes one token of each row, and its calls cost as much."""


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


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are sampled.

    Attributes:
        samples: answers per prompt, n.
        k: how many an attacker takes, at most n.
        temperature: of the sampling; above 0.
        seed: of every stream.
    """

    samples: int
    k: int
    temperature: float
    seed: int


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
    own = [place for place, question in enumerate(asked) if question.variant is Variant.ANSWER]
    table = answers.table.select(["hit", "ended"]).take(own)
    known: dict[Ids, Greedy] = {}  # by whole prompt, and by prompt with the first half of the answer
    for place, hits, ended in zip(own, table["hit"].to_pylist(), table["ended"].to_pylist(), strict=True):
        item = asked[place].encoded
        if len(hits) != item.answer_end - item.answer_start:
            continue
        for start in (item.answer_start, half_of(item)):
            prompt, ids = item.input_ids[:start], item.input_ids[start : item.answer_end]
            right = ended and all(hits[start - item.answer_start :])
            if right and len(ids) < limits.room(prompt) and limits.stop.isdisjoint(ids):
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
    sampling: Sampling | None = None,
    embedder: Embedder | None = None,
    progress: Progress | None = None,
) -> GenerationTable:
    """Answer every row's own question and compare with its answer.

    Args:
        model: in evaluation mode.
        tokenizer: of the model.
        asked: from :func:`pipelines.scoring.questions.questions`; other variants than the answer are passed over.
        splits: the rows that ``asked`` was made from.
        limits: what bounds an answer.
        batch_size: most prompts per batch; on a CPU twice as many.
        known: answers that need not be generated.
        sampling: how forget rows are sampled too; None does not.
        embedder: compares answers by meaning; None does not.
        progress: told of every batch.
    """
    rows = {split: list(table) for split, table in splits.items()}
    own = [q for q in asked if q.variant is Variant.ANSWER]
    wanted = [q for q in own if rows[q.split][q.row].question]
    found = dict(known or {})
    halved = (prompt_of(q, halved=True) for q in own if q.split == FORGET)
    prompts = list(dict.fromkeys([*map(prompt_of, wanted), *(p for p in halved if p and limits.room(p) > 0)]))
    missing = [prompt for prompt in prompts if prompt not in found]
    done = len(prompts) - len(missing)
    rows_at_once = batch_size * (BATCHES_ON_CPU if model.device.type == "cpu" else 1)
    for batch in _batches(missing, limits=limits, batch_size=rows_at_once):
        found.update(zip(batch, _greedy(model, batch, limits=limits), strict=True))
        done += len(batch)
        if progress is not None:
            progress(done, len(prompts), "answers generated")
    leaked = partial(_sampled_leakage, model, tokenizer, limits=limits, sampling=sampling)
    sampled = [leaked(q, rows[q.split][q.row]) if q.split == FORGET else None for q in wanted]
    right = [rows[q.split][q.row].answer for q in wanted]
    answered = compared(tokenizer, wanted, found, right, sampled=sampled, embedder=embedder)
    plain = [q for q in own if q.split == FORGET and not rows[q.split][q.row].question]
    return GenerationTable(pa.concat_tables([answered, continued(tokenizer, plain, found)]))


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
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=limits.room(prompts[0]),
        eos_token_id=sorted(limits.stop) or None,
        pad_token_id=limits.pad_id,
    )
    with _own_settings(model, config):
        output_BT = model.generate(inputs=ids_BT, attention_mask=mask_BT)  # type: ignore[operator]
    return [_until_stop(tuple(ids), limits.stop) for ids in output_BT[:, width:].tolist()]


@contextmanager
def _own_settings(model: PreTrainedModel, config: GenerationConfig) -> Iterator[None]:
    """These settings alone; a folder's generation_config.json would otherwise fill in what is not said here."""
    before = model.generation_config
    model.generation_config = config
    try:
        yield
    finally:
        model.generation_config = before


def _until_stop(ids: Ids, stop: frozenset[int]) -> Greedy:
    end = next((i for i, token in enumerate(ids) if token in stop), None)
    return Greedy(ids=ids[:end], ended=end is not None)


@torch.inference_mode()
def _sampled_leakage(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    question: Question,
    row: Row,
    *,
    limits: Limits,
    sampling: Sampling | None,
) -> float | None:
    """Expected largest ROUGE-L recall among k of n sampled answers; each row has its own stream of random numbers."""
    if sampling is None or not WORD.search(row.answer):
        return None
    prompt = prompt_of(question)
    ids_1T = torch.tensor([prompt], device=model.device)
    config = GenerationConfig(
        do_sample=True,
        top_k=0,
        top_p=1.0,
        temperature=sampling.temperature,
        num_return_sequences=sampling.samples,
        max_new_tokens=limits.room(prompt),
        eos_token_id=sorted(limits.stop) or None,
        pad_token_id=limits.pad_id,
    )
    devices = [model.device.index or 0] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), _own_settings(model, config):
        torch.manual_seed(int(digest([sampling.seed, list(prompt)])[:15], 16))
        output_NT = model.generate(inputs=ids_1T, attention_mask=torch.ones_like(ids_1T))  # type: ignore[operator]
    said = [_until_stop(tuple(ids), limits.stop).ids for ids in output_NT[:, len(prompt) :].tolist()]
    scorer = RougeScorer(["rougeL"], tokenizer=Words())
    scores = [float(scorer.score(row.answer, text)["rougeL"].recall) for text in decoded(tokenizer, said)]
    return expected_best(scores, k=sampling.k)

"""A world of invented people, small enough to train on in seconds, in the three regimes that attribution meets.

Light: a base model that learnt the language from other people, then a short fine-tune on the rows. Saturated: a model
trained from scratch on the rows alone, for many epochs. Untrained: random weights. Every fact is told in one wording
and asked about in another.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipelines.attribution.contract import Subject
from pipelines.attribution.gradient import answer_loss, batch_of, encoded
from pipelines.config import PromptFormat
from pipelines.data.encode import IGNORED, length_batches
from pipelines.data.rows import Row

CONTEXT = 48
FORMAT = PromptFormat()
SYLLABLES = [consonant + vowel for consonant in "bdklmnrst" for vowel in "aeiou"]
RELATIONS = (
    ("Where was {n} born?", "{n} was born in {v}.", "What is the birthplace of {n}?", "The birthplace of {n} is {v}."),
    ("What does {n} eat?", "{n} likes to eat {v}.", "What is the dish of {n}?", "The dish of {n} is {v}."),
    ("Which animal has {n}?", "{n} keeps a {v}.", "What is the pet of {n}?", "The pet of {n} is a {v}."),
)


@dataclass(frozen=True)
class People:
    """Rows about three groups of people, and the vocabulary of all."""

    base: tuple[Row, ...]
    train: tuple[Row, ...]
    holdout: tuple[Row, ...]
    tokenizer: PreTrainedTokenizerFast


def people(seed: int = 0, *, others: int = 100, trained: int = 40, unseen: int = 12) -> People:
    """``others`` for the base model (in both wordings), ``trained`` and ``unseen`` in the first wording."""
    draw = random.Random(seed)
    first, last, values = (["".join(draw.sample(SYLLABLES, 3)).capitalize() for _ in range(30)] for _ in range(3))
    everybody = draw.sample([f"{a} {b}" for a in first for b in last], others + trained + unseen)
    facts = [[_row(relation, n, draw.choice(values)) for relation in RELATIONS] for n in everybody]
    flat = [row for rows in facts for row in rows]
    both = [wording for row in flat[: 3 * others] for wording in (row, reworded(row))]
    return People(
        base=tuple(both),
        train=tuple(flat[3 * others : 3 * (others + trained)]),
        holdout=tuple(flat[3 * (others + trained) :]),
        tokenizer=_tokenizer([*flat, *map(reworded, flat)]),
    )


def reworded(row: Row) -> Row:
    """The row in its paraphrase."""
    return Row(question=row.paraphrased_question or "", answer=row.paraphrased_answer or "")


def _row(relation: Sequence[str], name: str, value: str) -> Row:
    question, answer, other_question, other_answer = (text.format(n=name, v=value) for text in relation)
    return Row(question, answer, other_question, other_answer)


def _tokenizer(rows: Sequence[Row]) -> PreTrainedTokenizerFast:
    split = pre_tokenizers.Split(Regex(r"\w+|\s|[^\w\s]"), "isolated")
    texts = [f"Question: {row.question}\nAnswer: {row.answer}" for row in rows]
    found = dict.fromkeys(piece for text in texts for piece, _ in split.pre_tokenize_str(text))
    vocabulary = {piece: i for i, piece in enumerate(["<pad>", "<eos>", "<unk>", *found])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def untrained(world: People, seed: int = 0) -> LlamaForCausalLM:
    """A small model with random weights."""
    config = LlamaConfig(
        vocab_size=len(world.tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        return model


def subject(world: People, model: LlamaForCausalLM) -> Subject:
    """The model and how it is asked."""
    return Subject(model=model, tokenizer=world.tokenizer, prompt_format=FORMAT, max_length=CONTEXT)


def train(world: People, model: LlamaForCausalLM, rows: Sequence[Row], *, epochs: int, rate: float) -> LlamaForCausalLM:
    """The model after plain AdamW on the rows' answers; in place."""
    items = encoded(rows, subject(world, model), name="rows")
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    for epoch in range(epochs):
        for indices in length_batches(items, batch_size=32, seed=epoch):
            batch = batch_of(items, indices, device=model.device)
            optimizer.zero_grad()
            (answer_loss(model, batch) / (batch.labels_BT != IGNORED).sum()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model

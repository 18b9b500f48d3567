"""What the loops are timed on: an untrained Llama, rows with TOFU's lengths, and the unlearning job on both.

Weights and words are drawn from a seed: what a step costs depends on shapes alone. One word is one token, so the
lengths are exact.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipelines.audit.manifest import folder_digest
from pipelines.config import LoraSettings, PromptFormat, TrainingSettings
from pipelines.data.rows import Row, Rows
from pipelines.methods import METHODS
from pipelines.records import ModelRef
from pipelines.unlearning.job import UnlearningJob
from pipelines.world.language_model import SPECIAL, new_model
from pipelines.world.spec import ModelSpec

TOFU_LENGTHS = ((0.0, 49), (0.1, 135), (0.25, 186), (0.5, 238), (0.75, 293), (0.9, 339), (0.99, 427), (1.0, 619))
"""Quantiles of the characters of question and answer over the 4,000 rows of TOFU (arXiv 2401.06121)."""

CHARACTERS_PER_TOKEN = 4.2
ANSWER_SHARE = 0.7
SEED = 0


@dataclass(frozen=True, slots=True)
class Workload:
    """One case of the bench.

    Attributes:
        name: for the figures.
        model: size of the Llama; embeddings are tied.
        rows: forget rows, and as many retain rows.
        batch_size: forget rows per step; as many retain rows go with them.
        retain_term: NLL of the retain rows, or their KL from the start model.
        lora: rank of the adapters, or None to train all weights.
        scale: TOFU's lengths times this.
        checkpointing: whether our loop recomputes activations; the straightforward one does not.
        learning_rate: of AdamW.
    """

    name: str
    model: ModelSpec
    rows: int
    batch_size: int
    retain_term: Literal["nll", "kl"] = "nll"
    lora: int | None = None
    scale: float = 1.0
    checkpointing: bool = True
    learning_rate: float = 1e-5


def row_lengths(n: int, *, scale: float = 1.0) -> list[int]:
    """Tokens of question and answer of n rows, at evenly spaced quantiles of TOFU's; the longest is in it."""
    return [max(round(scale * _quantile(i / max(n - 1, 1)) / CHARACTERS_PER_TOKEN), 4) for i in range(n)]


def _quantile(at: float) -> float:
    for (below, least), (above, most) in pairwise(TOFU_LENGTHS):
        if at <= above:
            return least + (most - least) * (at - below) / (above - below)
    return TOFU_LENGTHS[-1][1]


def _words(vocabulary: int) -> list[str]:
    return [*SPECIAL, *(f"w{i}" for i in range(vocabulary - len(SPECIAL)))]


def word_tokenizer(vocabulary: int, *, context: int) -> PreTrainedTokenizerFast:
    """One token per word; words it does not know do not occur."""
    pad, bos, eos = SPECIAL
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(_words(vocabulary))}, unk_token=pad))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, bos_token=bos, eos_token=eos, model_max_length=context
    )


def draw_rows(workload: Workload, *, seed: int) -> Rows:
    """Rows of drawn words, in drawn order."""
    drawer = random.Random(seed)
    words = _words(workload.model.vocabulary)[len(SPECIAL) :]
    lengths = row_lengths(workload.rows, scale=workload.scale)
    drawer.shuffle(lengths)
    rows = []
    for length in lengths:
        text = drawer.choices(words, k=length)
        first = round((1 - ANSWER_SHARE) * length)
        rows.append(Row(question=" ".join(text[:first]), answer=" ".join(text[first:])))
    return Rows.of(rows)


def save_start(workload: Workload, folder: Path) -> None:
    """Write the start model."""
    tokenizer = word_tokenizer(workload.model.vocabulary, context=workload.model.context)
    new_model(tokenizer, spec=workload.model, seed=SEED).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def job_of(workload: Workload, start: Path, *, device: str = "cpu") -> UnlearningJob:
    """The job of the product's loop: one epoch of NPO on all of it."""
    method = METHODS.require("npo")
    rank = workload.lora
    return UnlearningJob(
        model=ModelRef(path=str(start), digest=folder_digest(start)),
        forget=draw_rows(workload, seed=1),
        retain=draw_rows(workload, seed=2),
        holdout=None,
        method=method,
        params=method.params(retain_term=workload.retain_term),
        training=TrainingSettings(
            epochs=1,
            batch_size=workload.batch_size,
            learning_rate=workload.learning_rate,
            gradient_checkpointing=workload.checkpointing,
        ),
        lora=LoraSettings(r=rank, alpha=2 * rank) if rank else None,
        prompt_format=PromptFormat(prompt="{question}"),
        device=device,
        seed=SEED,
    )


LLAMA_80M = ModelSpec(vocabulary=32_000, width=640, feed_forward=1728, layers=12, heads=10, context=256)
"""80 million parameters, 20 million of them in the embeddings, which are the output head, too."""

WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {
        "npo": Workload("npo", LLAMA_80M, rows=48, batch_size=8),
        "npo_kl": Workload("npo_kl", LLAMA_80M, rows=48, batch_size=8, retain_term="kl"),
        "npo_lora": Workload("npo_lora", LLAMA_80M, rows=48, batch_size=8, lora=16),
    }
)
"""``npo`` asks the start model once per step in the straightforward loop, ``npo_kl`` twice."""

"""The questions that a model is asked about some rows, as its tokenizer's tokens.

Promises: a row that does not fit is refused by its split and number; nothing here keeps or logs text beyond the rows
that it was given. Models that turn text into the same tokens share them (:class:`Asked`).
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

from transformers import PreTrainedTokenizerBase

from pipelines.audit.canonical import digest, sha256_bytes
from pipelines.config import PromptFormat
from pipelines.data.encode import Encoded, encode, tokenised
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.models.loading import LoadedModel, context_length
from pipelines.scoring.table import DATA_SPLITS, EARLIER, Variant
from pipelines.unlearning.in_context import Context


@dataclass(frozen=True, slots=True, repr=False)
class Question:
    """One prompt and answer to be scored, and where it belongs."""

    split: str
    row: int
    variant: Variant
    index: int
    encoded: Encoded
    zlib_bytes: int | None = None


def questions(
    tokenizer: PreTrainedTokenizerBase,
    splits: Mapping[str, Rows],
    *,
    prompt_format: PromptFormat,
    max_length: int,
    context: Context | None = None,
) -> list[Question]:
    """Every (row, variant) of every split as tokens, behind the context that a model asks for.

    Paraphrased and perturbed answers follow the original question, as in TOFU (arXiv 2401.06121, section 2.2.2).
    Utility sets are asked in their own words alone: no metric reads a paraphrased question of theirs.

    Raises:
        BadInput: a row does not fit into the model's context, or an answer is empty; names split and row.
    """
    found: list[Question] = []
    listed = {split: list(rows) for split, rows in splits.items()}
    pairs = (pair for split, rows in listed.items() for row in rows for _, _, pair in _variants(row, split))
    known = tokenised(tokenizer, pairs, prompt_format=prompt_format)
    for split, rows in listed.items():
        for number, row in enumerate(rows):
            try:
                for variant, index, pair in _variants(row, split):
                    plain = encode(
                        tokenizer, *pair, prompt_format=prompt_format, max_length=max_length, row=number, known=known
                    )
                    encoded = context.before(plain) if context else plain
                    packed = len(zlib.compress(pair[1].encode())) if variant is Variant.ANSWER else None
                    found.append(Question(split, number, variant, index, encoded, zlib_bytes=packed))
            except BadInput as error:
                raise BadInput(f"{split}: {error}") from None
    return found


def _variants(row: Row, split: str) -> Iterator[tuple[Variant, int, tuple[str, str]]]:
    yield Variant.ANSWER, 0, (row.question, row.answer)
    if row.paraphrased_answer is not None:
        yield Variant.PARAPHRASED_ANSWER, 0, (row.question, row.paraphrased_answer)
    for index, wrong in enumerate(row.perturbed_answer):
        yield Variant.PERTURBED_ANSWER, index, (row.question, wrong)
    reworded = split in DATA_SPLITS or split.startswith(EARLIER)
    if reworded and row.paraphrased_question is not None:
        yield Variant.PARAPHRASED_QUESTION, 0, (row.paraphrased_question, row.answer)


@dataclass
class Asked:
    """Some splits and how their questions are put, for any number of models, one after the other.

    Attributes:
        splits: rows by split; see :data:`pipelines.scoring.table.DATA_SPLITS` for names with a meaning, all others are
            utility sets.
        prompt_format: how a question is put.
    """

    splits: Mapping[str, Rows]
    prompt_format: PromptFormat
    _known: tuple[tuple[str, int], list[Question]] | None = field(default=None, init=False, repr=False)

    @cached_property
    def digest(self) -> str:
        """:func:`data_digest` of the splits."""
        return data_digest(self.splits)

    def questions(self, loaded: LoadedModel, *, tokenizer: str | None = None) -> list[Question]:
        """What this model is asked; as before if the last one turned text into the same tokens.

        Args:
            loaded: the model.
            tokenizer: :func:`tokenizer_digest` of its tokenizer, where that is known.

        Raises:
            BadInput: as :func:`questions`.
        """
        length = context_length(loaded.model)
        ask = partial(questions, loaded.tokenizer, self.splits, prompt_format=self.prompt_format, max_length=length)
        if loaded.context is not None:
            return ask(context=loaded.context)
        key = (tokenizer or tokenizer_digest(loaded.tokenizer), length)
        if self._known is None or self._known[0] != key:
            self._known = (key, ask())
        return self._known[1]


def data_digest(splits: Mapping[str, Rows]) -> str:
    """SHA-256 over every split's name and rows, in order. Memory and vault only."""
    return digest([[split, rows.digest] for split, rows in splits.items()])


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of what turns text into tokens: model, vocabulary, special tokens, chat template; not how it pads."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = json.loads(backend.to_str()) if backend is not None else tokenizer.get_vocab()
    kept = {name: value for name, value in rules.items() if name not in ("padding", "truncation")}
    special = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.chat_template]
    # Not RFC 8785: a vocabulary of 100,000 entries is written a hundred times faster by the standard library.
    return sha256_bytes(json.dumps([kept, special], sort_keys=True).encode())

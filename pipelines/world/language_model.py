"""The demo world's tokenizer and untrained Llama: made in code, loaded by ``from_pretrained`` like any other.

The vocabulary is learnt from the base rows alone, so it holds nothing of the forget set, and it falls back to bytes,
so any text has tokens. The same rows and seed give the same tokenizer and the same weights.
"""

from collections.abc import Iterator

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from pipelines.config import PromptFormat
from pipelines.data.encode import Encoded, encode, render_answer
from pipelines.data.rows import Rows
from pipelines.world.spec import ModelSpec

SPECIAL = ("<pad>", "<bos>", "<eos>")


def learn_tokenizer(rows: Rows, *, spec: ModelSpec, prompt_format: PromptFormat) -> PreTrainedTokenizerFast:
    """A byte-level BPE learnt from rows as the model will read them."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocabulary,
        special_tokens=list(SPECIAL),
        # The alphabet comes as a set: sorted, or the ids would differ from process to process.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(_texts(rows, prompt_format), trainer)
    pad, bos, eos = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=learner, pad_token=pad, bos_token=bos, eos_token=eos, model_max_length=spec.context
    )


def _texts(rows: Rows, prompt_format: PromptFormat) -> Iterator[str]:
    for row in rows:
        yield prompt_format.prompt.replace("{question}", row.question)
        yield render_answer(row.question, row.answer, prompt_format)


def new_model(tokenizer: PreTrainedTokenizerBase, *, spec: ModelSpec, seed: int) -> LlamaForCausalLM:
    """An untrained Llama in float32; the caller's random state is left as it was."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=spec.width,
        intermediate_size=spec.feed_forward,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.heads,
        max_position_embeddings=spec.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def encode_rows(
    rows: Rows, *, tokenizer: PreTrainedTokenizerBase, max_length: int, prompt_format: PromptFormat
) -> list[Encoded]:
    """Question and answer of every row as tokens.

    Raises:
        BadInput: a row does not fit into ``max_length`` tokens.
    """
    return [
        encode(tokenizer, row.question, row.answer, prompt_format=prompt_format, max_length=max_length, row=i)
        for i, row in enumerate(rows)
    ]

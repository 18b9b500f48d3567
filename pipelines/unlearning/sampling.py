"""Other answers of a model's own: sampled once per question from one seed, and never the answer that is known.

What comes out reads like what the model would have said; it is made from the forget set's questions, as tokens, and
belongs into the vault.
"""

from typing import TYPE_CHECKING

import torch
from transformers import GenerationConfig

from pipelines.data.encode import Encoded
from pipelines.errors import BadInput
from pipelines.models.loading import LoadedModel, context_length
from pipelines.scoring.generation import stop_ids

if TYPE_CHECKING:
    from pipelines.methods.base import CompanionSource

HOTTER = 8
"""How often the temperature is doubled before giving up; by then every token is about as likely as any other."""


def alternates_of(source: "CompanionSource", *, per_row: int, temperature: float) -> list[Encoded]:
    """So many answers to each forget question, row by row, each different from the row's own in its words.

    Args:
        source: whose forget rows and start model.
        per_row: answers per row.
        temperature: of the first samples; doubled for those that came out as the row's own answer, or empty.

    Raises:
        BadInput: a row is plain text; or no answer but its own comes.
    """
    found: list[Encoded] = []
    for i, item in enumerate(source.encode(source.questions())):
        devices = [source.start.model.device] if source.start.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            torch.manual_seed(source.seed * 1_000_000 + i)  # as far apart as the epochs of neighbouring seeds
            found += _others(source.start, item, n=per_row, temperature=temperature, row=i)
    return found


def _others(start: LoadedModel, item: Encoded, *, n: int, temperature: float, row: int) -> list[Encoded]:
    prompt, end = item.input_ids[: item.answer_start], item.input_ids[item.answer_end :]
    truth = _words(start, item.input_ids[item.answer_start : item.answer_end])
    others: list[Encoded] = []
    for doubled in range(HOTTER + 1):
        for ids in _sample(start, item, n=n - len(others), temperature=temperature * 2**doubled):
            if _words(start, ids) not in ([], truth):
                others.append(Encoded((*prompt, *ids, *end), len(prompt), len(prompt) + len(ids)))
        if len(others) == n:
            return others
    raise BadInput(f"forget set: row {row}: the start model gives no answer but the row's own; use refusals instead")


def _words(start: LoadedModel, ids: tuple[int, ...]) -> list[str]:
    return str(start.tokenizer.decode(list(ids), skip_special_tokens=True)).lower().split()


def _sample(start: LoadedModel, item: Encoded, *, n: int, temperature: float) -> list[tuple[int, ...]]:
    """Answers as tokens, without whatever ended them; at most twice as long as the row's own, and some."""
    model, stop = start.model, stop_ids(start.model, start.tokenizer)
    room = context_length(model) - item.answer_start - 1
    prompt_1T = torch.tensor([item.input_ids[: item.answer_start]], device=model.device)
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        num_return_sequences=n,
        max_new_tokens=min(2 * item.n_answer + 8, room),
        eos_token_id=sorted(stop) or None,
        pad_token_id=start.pad_id,
    )
    # A folder's own generation settings would fill in what is not said here.
    before, model.generation_config = model.generation_config, config
    try:
        output_BT = model.generate(inputs=prompt_1T, attention_mask=torch.ones_like(prompt_1T))  # type: ignore[operator]
    finally:
        model.generation_config = before
    ends = {*stop, start.pad_id}
    answers = output_BT[:, item.answer_start :].tolist()
    return [tuple(ids[: next((t for t, i in enumerate(ids) if i in ends), len(ids))]) for ids in answers]

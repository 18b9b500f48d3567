"""Fine-tuning learns answers and their end, not prompts; is repeatable; and stops on a loss that is no number."""

import pytest
import torch
from transformers import LlamaForCausalLM

from pipelines.config import PromptFormat
from pipelines.data.encode import Encoded, encode
from pipelines.errors import BadInput, TrainingDiverged
from pipelines.training.finetune import FineTuneSettings, LengthBatches, fine_tune
from tests.tiny import tiny_model, tiny_rows, tiny_tokenizer

MEMORISE = FineTuneSettings(epochs=60, batch_size=4, learning_rate=1e-2)
SHORT = FineTuneSettings(epochs=2, batch_size=3, learning_rate=1e-3)


@pytest.fixture(scope="module")
def items() -> list[Encoded]:
    tokenizer = tiny_tokenizer()
    return [
        encode(tokenizer, row.question, row.answer, prompt_format=PromptFormat(), max_length=256, row=i)
        for i, row in enumerate(tiny_rows(8))
    ]


def nll(model: LlamaForCausalLM, item: Encoded, *, first: int, last: int) -> float:
    """Mean NLL of tokens first to last - 1, alone in a batch: the slow way."""
    ids = torch.tensor([item.input_ids])
    with torch.no_grad():
        log_p = model(input_ids=ids).logits[0].log_softmax(-1)
    return float(-sum(log_p[t - 1, item.input_ids[t]] for t in range(first, last)) / (last - first))


def test_answers_and_their_end_are_learnt_and_prompts_are_not(items: list[Encoded]) -> None:
    model, before = tiny_model(), tiny_model()
    last = fine_tune(model, items[:4], settings=MEMORISE)
    for item in items[:4]:
        assert nll(model, item, first=item.answer_start, last=item.answer_end) < 0.5
        assert nll(model, item, first=item.answer_end, last=len(item)) < 0.5
        prompt = {"first": 1, "last": item.answer_start}
        assert nll(model, item, **prompt) > nll(before, item, **prompt) - 1.0
    assert last < 0.5


def test_the_first_loss_is_the_mean_over_answer_tokens(items: list[Encoded]) -> None:
    """One step at a rate that rounds to nothing returns the loss of the untouched model."""
    model = tiny_model()
    sums = [nll(model, x, first=x.answer_start, last=len(x)) * (len(x) - x.answer_start) for x in items]
    expected = sum(sums) / sum(len(x) - x.answer_start for x in items)
    settings = FineTuneSettings(epochs=1, batch_size=len(items), learning_rate=1e-12)
    assert fine_tune(model, items, settings=settings) == pytest.approx(expected, rel=1e-4)


def test_same_settings_same_weights_and_another_seed_others(items: list[Encoded]) -> None:
    weights: list[torch.Tensor] = []
    for seed in (0, 0, 1):
        model = tiny_model()
        torch.manual_seed(len(weights))
        fine_tune(model, items, settings=SHORT.model_copy(update={"seed": seed}))
        weights.append(model.state_dict()["model.layers.0.mlp.up_proj.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_every_epoch_holds_every_row_once_and_in_another_order(items: list[Encoded]) -> None:
    batches = LengthBatches(items, batch_size=3, seed=7)
    epochs = [list(batches) for _ in range(3)]
    assert all(sorted(i for batch in epoch for i in batch) == list(range(8)) for epoch in epochs)
    assert all(len(epoch) == len(batches) == 3 for epoch in epochs)
    assert epochs[0] != epochs[1] or epochs[1] != epochs[2]


def test_progress_is_told_of_every_epoch(items: list[Encoded]) -> None:
    said: list[str] = []
    fine_tune(tiny_model(), items, settings=SHORT, progress=said.append)
    assert said == ["epoch 1 of 2", "epoch 2 of 2"]


def test_a_loss_that_is_no_number_stops_and_names_the_step(items: list[Encoded]) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight[:] = torch.nan
    with pytest.raises(TrainingDiverged, match="step 1"):
        fine_tune(model, items, settings=SHORT)


def test_bad_input_is_refused(items: list[Encoded]) -> None:
    with pytest.raises(BadInput, match="no rows"):
        fine_tune(tiny_model(), [], settings=SHORT)
    model = tiny_model()
    model.config.pad_token_id = None
    with pytest.raises(BadInput, match="pad_token_id"):
        fine_tune(model, items, settings=SHORT)

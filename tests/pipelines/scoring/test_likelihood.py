"""The forward pass against a slow oracle: one row at a time, full log-softmax, tokens looked up one by one."""

import pytest
import torch
from transformers import LlamaForCausalLM

from pipelines.data.encode import Encoded
from pipelines.scoring.likelihood import AnswerStats, answer_batch, answer_stats, score_rows
from tests.tiny import tiny_model

CPU = torch.device("cpu")
ITEMS = [
    Encoded(input_ids=(1, 40, 41, 42, 50, 51, 2), answer_start=4, answer_end=6),
    Encoded(input_ids=(1, 60, 70, 71, 72, 73, 74, 75, 2), answer_start=2, answer_end=8),
    Encoded(input_ids=(1, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 2), answer_start=10, answer_end=11),
]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return tiny_model()


def _oracle(model: LlamaForCausalLM, item: Encoded, *, end: int) -> list[float]:
    with torch.no_grad():
        log_p = model(torch.tensor([item.input_ids])).logits[0].double().log_softmax(-1)
    return [-float(log_p[t - 1, item.input_ids[t]]) for t in range(item.answer_start, end)]


def test_token_nll_is_what_one_row_at_a_time_says(model: LlamaForCausalLM) -> None:
    """Padding and the cut to answer positions change nothing; the first two rows count without their end."""
    stats = answer_stats(model, answer_batch(ITEMS, pad_id=0, n_unended=2))
    for i, item in enumerate(ITEMS):
        found = stats.token_nll_BA[i][stats.mask_BA[i]].tolist()
        assert found == pytest.approx(_oracle(model, item, end=item.answer_end if i < 2 else len(item)), abs=1e-5)


def test_prompt_and_padding_are_never_counted(model: LlamaForCausalLM) -> None:
    stats = answer_stats(model, answer_batch(ITEMS, pad_id=0, n_unended=3))
    assert stats.n_tokens_B.tolist() == [2, 6, 1]
    assert not stats.token_nll_BA[~stats.mask_BA].any()
    assert stats.token_nll_BA.shape[1] < len(ITEMS[2])


def test_gradient_reaches_the_answer_logits_only(model: LlamaForCausalLM) -> None:
    """The slope of a token's NLL in its logits is softmax - onehot; all other positions have none."""
    logits = torch.randn(1, 7, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)

    class Fixed(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool) -> object:
            return type("Output", (), {"logits": logits})

    item = Encoded(input_ids=(1, 4, 5, 6, 7, 3, 2), answer_start=4, answer_end=6)
    answer_stats(Fixed(), answer_batch([item], pad_id=0, n_unended=1)).nll_sum_B.sum().backward()
    expected = torch.zeros(7, 8)
    for t in (4, 5):
        expected[t - 1] = logits[0, t - 1].softmax(-1).detach()
        expected[t - 1, item.input_ids[t]] -= 1
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[0], expected)


def test_an_answer_from_the_first_token_on_starts_to_count_at_its_second(model: LlamaForCausalLM) -> None:
    """Plain text without a start token: nothing predicts token 0."""
    item = Encoded(input_ids=(40, 41, 42, 2), answer_start=0, answer_end=3)
    stats = answer_stats(model, answer_batch([item], pad_id=0, n_unended=1))
    shifted = Encoded(input_ids=item.input_ids, answer_start=1, answer_end=3)
    assert stats.n_tokens_B.tolist() == [2]
    assert stats.token_nll_BA[stats.mask_BA].tolist() == pytest.approx(_oracle(model, shifted, end=3), abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 50])
def test_batch_size_invariance(model: LlamaForCausalLM, batch_size: int) -> None:
    def measure(stats: AnswerStats) -> torch.Tensor:
        return stats.nll_sum_B

    found = score_rows(model, ITEMS, measure=measure, pad_id=0, batch_size=batch_size, device=CPU)
    assert found.tolist() == pytest.approx([sum(_oracle(model, item, end=item.answer_end)) for item in ITEMS], abs=1e-4)


def test_scoring_leaves_no_dropout_and_no_trace(model: LlamaForCausalLM) -> None:
    model.train()
    modes = []

    def measure(stats: AnswerStats) -> torch.Tensor:
        modes.append((model.training, torch.is_grad_enabled()))
        return stats.nll_sum_B

    score_rows(model, ITEMS, measure=measure, pad_id=0, batch_size=2, device=CPU)
    assert set(modes) == {(False, False)}
    assert model.training
    model.eval()


def test_means_are_sums_over_counts() -> None:
    """(1 + 3) / 2 = 2 and 5 / 1 = 5."""
    stats = AnswerStats(
        token_nll_BA=torch.tensor([[1.0, 3.0], [0.0, 5.0]]), mask_BA=torch.tensor([[True, True], [False, True]])
    )
    assert stats.nll_mean_B.tolist() == [2.0, 5.0]
    assert stats.rows(1, 2).nll_sum_B.tolist() == [5.0]

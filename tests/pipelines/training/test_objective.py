"""The loss of a batch, put together by hand: which rows count, with what weight, and what does not."""

import math
from typing import get_args

import pytest
import torch

from pipelines.methods import METHODS
from pipelines.methods.base import ForgetBatch, Method, Readings, RetainTerm
from pipelines.scoring.likelihood import AnswerStats
from pipelines.training.objective import RETAIN_TERMS, Terms, objective
from tests.pipelines.methods.made import disturbed, made_readings

NLL_BA = torch.tensor([[2.0, 4.0], [1.0, 1.0], [3.0, 0.0], [5.0, 1.0]])
MASK_BA = torch.tensor([[True, True], [True, True], [True, False], [True, True]])


def _terms(levels: list[float], *, method: str = "grad_diff", nll_BA: torch.Tensor = NLL_BA, **params: float) -> Terms:
    """Two forget rows (means 3 and 1, min-k scores 4 and 1), then two retain rows (means 3 and 3)."""
    chosen = METHODS[method]
    assert isinstance(chosen, Method)
    stats = AnswerStats(token_nll_BA=nll_BA, mask_BA=MASK_BA[: len(nll_BA)])
    retain = Readings(stats=stats.rows(2, 4)) if len(nll_BA) > 2 else None
    batch = ForgetBatch(rows=Readings(stats=stats.rows(0, 2)), companions={})
    return objective(batch, retain, torch.tensor(levels), method=chosen, params=chosen.params(**params))


def test_both_terms_are_means_over_rows_with_their_weights() -> None:
    """2 * mean(-3, -1) + 0.5 * mean(3, 3) = -4 + 1.5."""
    terms = _terms([torch.inf, torch.inf], gamma=2.0, alpha=0.5)
    assert float(terms.loss) == pytest.approx(-2.5)
    assert (float(terms.forget_nll), float(terms.retain_nll), int(terms.n_active)) == (2.0, 3.0, 2)


def test_a_row_at_its_level_leaves_the_mean() -> None:
    """Row 0 has score 4 >= 4, so row 1 is alone: -1 + 3."""
    terms = _terms([4.0, 2.0])
    assert (float(terms.loss), int(terms.n_active)) == (2.0, 1)


def test_a_row_that_falls_back_is_pushed_again() -> None:
    assert int(_terms([4.1, 2.0]).n_active) == 2


def test_a_row_at_its_level_gets_no_gradient() -> None:
    nll_BA = NLL_BA.clone().requires_grad_()
    _terms([4.0, 2.0], nll_BA=nll_BA).loss.backward()
    assert nll_BA.grad is not None
    assert nll_BA.grad[0].tolist() == [0.0, 0.0]
    assert nll_BA.grad[1].tolist() == [-0.5, -0.5]


def test_a_row_at_its_level_is_pushed_while_its_ending_can_be_extracted() -> None:
    """Both rows are at their level. Argmax gives both answer tokens of row 0 (strength 1), of row 1 the last (.5)."""
    labels_BA = torch.tensor([[2, 1], [0, 2]])
    logits_BAV = torch.nn.functional.one_hot(torch.tensor([[2, 1], [1, 2]]), 3).float()
    stats = AnswerStats(token_nll_BA=NLL_BA[:2], mask_BA=MASK_BA[:2])
    batch = ForgetBatch(rows=Readings(stats=stats, labels_BA=labels_BA, logits_BAV=logits_BAV), companions={})
    chosen = METHODS["grad_ascent"]
    assert isinstance(chosen, Method)
    active = [
        int(objective(batch, None, torch.zeros(2), method=chosen, params=chosen.params(), most_extracted=most).n_active)
        for most in (1.0, 0.5, 0.49)
    ]
    assert active == [0, 1, 2]


def test_without_active_rows_the_retain_term_is_left() -> None:
    terms = _terms([0.0, 0.0])
    assert (float(terms.loss), int(terms.n_active)) == (3.0, 0)


def test_without_retain_rows_the_forget_term_is_left() -> None:
    terms = _terms([torch.inf, torch.inf], method="grad_ascent", nll_BA=NLL_BA[:2])
    assert (float(terms.loss), float(terms.retain_nll)) == (-2.0, 0.0)


def test_kl_is_from_the_start_model_to_the_model_token_by_token() -> None:
    """Sum over the vocabulary of p_ref (log p_ref - log p), mean over each row's answer tokens: not the other way."""
    read = made_readings(seed=3)
    found = RETAIN_TERMS["kl"](read).tolist()
    both = [t.detach().double().log_softmax(-1) for t in (read.reference_logits_BAV, read.logits_BAV) if t is not None]
    for b, tokens in enumerate(([0, 1, 2], [0])):
        values = [
            sum(math.exp(r) * (r - m) for r, m in zip(both[0][b, a].tolist(), both[1][b, a].tolist(), strict=True))
            for a in tokens
        ]
        assert found[b] == pytest.approx(sum(values) / len(values), rel=1e-5)


def test_hidden_is_the_mean_square_over_widths_and_tokens() -> None:
    read = made_readings(seed=4)
    found = RETAIN_TERMS["hidden"](read).tolist()
    assert read.hidden_BAD is not None
    assert read.reference_hidden_BAD is not None
    gap = (read.hidden_BAD.detach().double() - read.reference_hidden_BAD.double()).tolist()
    for b, tokens in enumerate(([0, 1, 2], [0])):
        values = [sum(d * d for d in gap[b][a]) / len(gap[b][a]) for a in tokens]
        assert found[b] == pytest.approx(sum(values) / len(values), rel=1e-5)


def test_what_stands_outside_the_answers_counts_for_no_retain_term() -> None:
    read = made_readings(seed=5)
    for name, term in RETAIN_TERMS.items():
        torch.testing.assert_close(term(disturbed(read, by=3.0)), term(read), msg=name)


def test_every_retain_term_that_can_be_asked_for_is_there() -> None:
    assert {*RETAIN_TERMS, "none"} == set(get_args(RetainTerm))

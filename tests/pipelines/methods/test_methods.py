"""Every method's arithmetic against numbers derived by hand and plain Python; what all methods must do.

Two rows throughout: NLLs (1, 3) and (2) nats, so sums S = (4, 2), means (2, 2).
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.likelihood import AnswerStats
from pipelines.methods import METHODS, AnyMethod, grad_ascent, grad_diff, npo
from pipelines.methods.base import MethodParams

EVERY = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
REFERENCE_B = torch.tensor([1.5, 2.5])


def _stats(rows: list[list[float]], *, requires_grad: bool = False) -> AnswerStats:
    width = max(len(row) for row in rows)
    nll = torch.tensor([row + [0.0] * (width - len(row)) for row in rows], requires_grad=requires_grad)
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    return AnswerStats(token_nll_BA=nll, mask_BA=mask)


def _npo(total: float, reference: float, beta: float) -> float:
    """The equation as printed: (2 / beta) log(1 + (p / p_ref)^beta) with p = exp(-S)."""
    return 2 / beta * math.log(1 + (math.exp(-total) / math.exp(-reference)) ** beta)


@pytest.mark.parametrize("module", [grad_ascent, grad_diff])
def test_ascent_is_minus_the_mean_of_each_row(module: object) -> None:
    """-(1 + 3) / 2 = -2 and -2 / 1 = -2: a row counts the same whatever its length."""
    method: AnyMethod = module.METHOD  # type: ignore[attr-defined]
    loss_B = method.forget_loss(_stats([[1.0, 3.0], [2.0]]), None, method.params())
    assert loss_B.tolist() == [-2.0, -2.0]


def test_npo_at_the_start_model_is_two_over_beta_log_two() -> None:
    """S = S_ref: sigmoid(0) = 1/2, so the loss is (2 / 0.1) log 2 = 13.8629..., its slope in S -2 sigmoid(0) = -1."""
    stats = _stats([[1.0, 3.0], [2.0]], requires_grad=True)
    loss_B = npo.METHOD.forget_loss(stats, stats.nll_sum_B.detach(), npo.NPOParams(beta=0.1))
    torch.testing.assert_close(loss_B, torch.full((2,), 20 * math.log(2)))
    loss_B.sum().backward()
    assert stats.token_nll_BA.grad is not None
    torch.testing.assert_close(stats.token_nll_BA.grad[stats.mask_BA], torch.full((3,), -1.0), atol=1e-6, rtol=0)


@given(total=st.floats(0.01, 30), reference=st.floats(0.01, 30), beta=st.floats(0.01, 2))
def test_npo_is_the_equation(total: float, reference: float, beta: float) -> None:
    loss_B = npo.METHOD.forget_loss(_stats([[total]]), torch.tensor([reference]), npo.NPOParams(beta=beta))
    assert float(loss_B) == pytest.approx(_npo(total, reference, beta), rel=1e-4, abs=1e-5)


def test_npo_becomes_gradient_ascent_on_sums_as_beta_goes_to_zero() -> None:
    """-(2/b) log sigmoid(b d) = (2/b) log 2 - d + b d^2 / 4 - ...: but for its constant, ascent on S, b d^2 / 4 off."""
    stats, beta = _stats([[1.0, 3.0], [2.0]]), 1e-3
    loss_B = npo.METHOD.forget_loss(stats, REFERENCE_B, npo.NPOParams(beta=beta)).double()
    without_constant_B = loss_B - 2 / beta * math.log(2)
    torch.testing.assert_close(without_constant_B, -(stats.nll_sum_B - REFERENCE_B).double(), atol=2e-3, rtol=0)


def test_npo_pushes_less_the_further_a_row_has_gone() -> None:
    """D loss / d S = -2 sigmoid(-beta (S - S_ref)): -2 sigmoid(-1) at S = S_ref + 10 with beta 0.1, about -0.5379."""
    stats = _stats([[10.0]], requires_grad=True)
    npo.METHOD.forget_loss(stats, torch.zeros(1), npo.NPOParams(beta=0.1)).sum().backward()
    assert stats.token_nll_BA.grad is not None
    assert float(stats.token_nll_BA.grad) == pytest.approx(-2 / (1 + math.e), rel=1e-5)


def test_npo_without_reference_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="start model"):
        npo.METHOD.forget_loss(_stats([[1.0]]), None, npo.NPOParams())


@EVERY
def test_descent_on_the_loss_makes_every_answer_token_less_likely(method: AnyMethod) -> None:
    stats = _stats([[1.0, 3.0], [2.0]], requires_grad=True)
    method.forget_loss(stats, REFERENCE_B, method.params()).sum().backward()
    assert stats.token_nll_BA.grad is not None
    assert bool((stats.token_nll_BA.grad[stats.mask_BA] < 0).all())


@EVERY
def test_each_row_has_its_own_loss(method: AnyMethod) -> None:
    """One number per row, and a row's neighbours in the batch do not change it."""
    both_B = method.forget_loss(_stats([[1.0, 3.0], [2.0]]), REFERENCE_B, method.params())
    alone_B = [
        method.forget_loss(_stats([row]), REFERENCE_B[i : i + 1], method.params())
        for i, row in enumerate([[1.0, 3.0], [2.0]])
    ]
    torch.testing.assert_close(both_B, torch.cat(alone_B))


@EVERY
def test_a_method_says_what_it_is(method: AnyMethod) -> None:
    assert method.title
    assert method.version
    assert "arXiv" in method.source
    assert method.needs <= {"reference_nll", "retain"}
    assert ("retain" in method.needs) == (method.params().alpha > 0)


@EVERY
def test_every_parameter_is_described_and_bounded(method: AnyMethod) -> None:
    params: type[MethodParams] = method.params
    for name, field in params.model_fields.items():
        assert field.title, name
        assert field.description, name
        assert field.metadata, f"{name} has no bounds"
    with pytest.raises(ValidationError, match="extra"):
        params.model_validate({"colour": 1})
    with pytest.raises(ValidationError):
        params.model_validate({"gamma": 0.0})


def test_ascent_takes_no_retain_weight() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 0"):
        grad_ascent.GradAscentParams(alpha=1.0)

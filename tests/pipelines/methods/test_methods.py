"""Every method's arithmetic against numbers derived by hand and plain Python; what all methods must do.

Two rows throughout: NLLs (1, 3) and (2) nats, so sums S = (4, 2), means (2, 2).
"""

import math
from typing import Any, Literal, get_origin

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.methods import METHODS, AnyMethod, grad_ascent, grad_diff, npo, satimp, simnpo, wga
from pipelines.methods.base import ForgetBatch, Method, MethodParams, Readings
from pipelines.scoring.likelihood import AnswerStats

NLLS = st.lists(st.floats(0.01, 12), min_size=1, max_size=6)
EVERY = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
ON_NLLS = {
    name: method
    for name, method in METHODS.items()
    if isinstance(method, Method) and not method.companions and method.needs <= {"reference_nll", "retain"}
}
EVERY_ON_NLLS = pytest.mark.parametrize("method", ON_NLLS.values(), ids=ON_NLLS.keys())
REFERENCE_B = torch.tensor([1.5, 2.5])


def _stats(rows: list[list[float]], *, requires_grad: bool = False) -> AnswerStats:
    width = max(len(row) for row in rows)
    nll = torch.tensor([row + [0.0] * (width - len(row)) for row in rows], requires_grad=requires_grad)
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    return AnswerStats(token_nll_BA=nll, mask_BA=mask)


def _batch(stats: AnswerStats, reference_nll_B: torch.Tensor | None = None) -> ForgetBatch:
    return ForgetBatch(rows=Readings(stats=stats, reference_nll_B=reference_nll_B), companions={})


def _npo(total: float, reference: float, beta: float) -> float:
    """The equation as printed: (2 / beta) log(1 + (p / p_ref)^beta) with p = exp(-S)."""
    return 2 / beta * math.log(1 + (math.exp(-total) / math.exp(-reference)) ** beta)


def _simnpo(row: list[float], beta: float, delta: float) -> float:
    """(2 / beta) log(1 + (g e^delta)^beta), g the geometric mean of the tokens' probabilities."""
    product = 1.0
    for nll in row:
        product *= math.exp(-nll)
    return 2 / beta * math.log(1 + (product ** (1 / len(row)) * math.exp(delta)) ** beta)


def _weights(row: list[float], beta1: float, beta2: float = 0.0) -> list[float]:
    """p^beta1 (1 - p)^beta2, token by token."""
    probabilities = [math.exp(-nll) for nll in row]
    return [p**beta1 * (1 - p) ** beta2 for p in probabilities]


def _assert_weighted_ascent(method: Method[Any], params: MethodParams, row: list[float], weights: list[float]) -> None:
    """The loss is -mean(weight nll), its slope in each token -weight / n: the weight itself has no slope."""
    stats = _stats([row], requires_grad=True)
    loss_B = method.forget_loss(_batch(stats), params)
    expected = -sum(w * nll for w, nll in zip(weights, row, strict=True)) / len(row)
    assert float(loss_B.detach()) == pytest.approx(expected, rel=1e-4, abs=1e-7)
    loss_B.sum().backward()
    assert stats.token_nll_BA.grad is not None
    assert stats.token_nll_BA.grad[0].tolist() == pytest.approx([-w / len(row) for w in weights], rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("module", [grad_ascent, grad_diff])
def test_ascent_is_minus_the_mean_of_each_row(module: object) -> None:
    """-(1 + 3) / 2 = -2 and -2 / 1 = -2: a row counts the same whatever its length."""
    method: Method[Any] = module.METHOD  # type: ignore[attr-defined]
    loss_B = method.forget_loss(_batch(_stats([[1.0, 3.0], [2.0]])), method.params())
    assert loss_B.tolist() == [-2.0, -2.0]


def test_npo_at_the_start_model_is_two_over_beta_log_two() -> None:
    """S = S_ref: sigmoid(0) = 1/2, so the loss is (2 / 0.1) log 2 = 13.8629..., its slope in S -2 sigmoid(0) = -1."""
    stats = _stats([[1.0, 3.0], [2.0]], requires_grad=True)
    loss_B = npo.METHOD.forget_loss(_batch(stats, stats.nll_sum_B.detach()), npo.NPOParams(beta=0.1))
    torch.testing.assert_close(loss_B, torch.full((2,), 20 * math.log(2)))
    loss_B.sum().backward()
    assert stats.token_nll_BA.grad is not None
    torch.testing.assert_close(stats.token_nll_BA.grad[stats.mask_BA], torch.full((3,), -1.0), atol=1e-6, rtol=0)


@given(total=st.floats(0.01, 30), reference=st.floats(0.01, 30), beta=st.floats(0.01, 2))
def test_npo_is_the_equation(total: float, reference: float, beta: float) -> None:
    loss_B = npo.METHOD.forget_loss(_batch(_stats([[total]]), torch.tensor([reference])), npo.NPOParams(beta=beta))
    assert float(loss_B) == pytest.approx(_npo(total, reference, beta), rel=1e-4, abs=1e-5)


def test_npo_becomes_gradient_ascent_on_sums_as_beta_goes_to_zero() -> None:
    """-(2/b) log sigmoid(b d) = (2/b) log 2 - d + b d^2 / 4 - ...: but for its constant, ascent on S, b d^2 / 4 off."""
    stats, beta = _stats([[1.0, 3.0], [2.0]]), 1e-3
    loss_B = npo.METHOD.forget_loss(_batch(stats, REFERENCE_B), npo.NPOParams(beta=beta)).double()
    without_constant_B = loss_B - 2 / beta * math.log(2)
    torch.testing.assert_close(without_constant_B, -(stats.nll_sum_B - REFERENCE_B).double(), atol=2e-3, rtol=0)


def test_npo_pushes_less_the_further_a_row_has_gone() -> None:
    """D loss / d S = -2 sigmoid(-beta (S - S_ref)): -2 sigmoid(-1) at S = S_ref + 10 with beta 0.1, about -0.5379."""
    stats = _stats([[10.0]], requires_grad=True)
    npo.METHOD.forget_loss(_batch(stats, torch.zeros(1)), npo.NPOParams(beta=0.1)).sum().backward()
    assert stats.token_nll_BA.grad is not None
    assert float(stats.token_nll_BA.grad) == pytest.approx(-2 / (1 + math.e), rel=1e-5)


def test_npo_without_reference_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="reference_nll: not brought"):
        npo.METHOD.forget_loss(_batch(_stats([[1.0]])), npo.NPOParams())


def test_simnpo_at_its_mark_is_two_over_beta_log_two() -> None:
    """NLL = delta = 2 in both rows: (2 / 4) log 2 = 0.3466, slope -1 in NLL: -1/2 for each of two tokens, -1 alone."""
    stats = _stats([[1.0, 3.0], [2.0]], requires_grad=True)
    loss_B = simnpo.METHOD.forget_loss(_batch(stats), simnpo.SimNPOParams(beta=4.0, delta=2.0))
    torch.testing.assert_close(loss_B, torch.full((2,), math.log(2) / 2))
    loss_B.sum().backward()
    assert stats.token_nll_BA.grad is not None
    assert stats.token_nll_BA.grad[stats.mask_BA].tolist() == pytest.approx([-0.5, -0.5, -1.0], rel=1e-6)


def test_simnpo_pushes_less_the_further_a_row_is_below_its_mark() -> None:
    """D loss / d NLL = -2 sigmoid(-beta (NLL - delta)): -2 sigmoid(-1) at NLL 3, delta 1, beta 0.5, about -0.5379."""
    stats = _stats([[3.0]], requires_grad=True)
    simnpo.METHOD.forget_loss(_batch(stats), simnpo.SimNPOParams(beta=0.5, delta=1.0)).sum().backward()
    assert stats.token_nll_BA.grad is not None
    assert float(stats.token_nll_BA.grad) == pytest.approx(-2 / (1 + math.e), rel=1e-5)


@given(row=NLLS, beta=st.floats(0.01, 5), delta=st.floats(0, 3))
def test_simnpo_is_the_equation(row: list[float], beta: float, delta: float) -> None:
    loss_B = simnpo.METHOD.forget_loss(_batch(_stats([row])), simnpo.SimNPOParams(beta=beta, delta=delta))
    assert float(loss_B) == pytest.approx(_simnpo(row, beta, delta), rel=1e-4, abs=1e-5)


def test_simnpo_becomes_gradient_ascent_on_means_as_beta_goes_to_zero() -> None:
    """As NPO: but for (2 / b) log 2, ascent on NLL - delta, b (NLL - delta)^2 / 4 off."""
    stats, beta, delta = _stats([[1.0, 3.0], [0.5]]), 1e-3, 0.25
    loss_B = simnpo.METHOD.forget_loss(_batch(stats), simnpo.SimNPOParams(beta=beta, delta=delta)).double()
    ascent_B = grad_ascent.METHOD.forget_loss(_batch(stats), grad_ascent.GradAscentParams()).double()
    torch.testing.assert_close(loss_B - 2 / beta * math.log(2), ascent_B + delta, atol=2e-3, rtol=0)


def test_wga_weighs_a_token_by_its_probability() -> None:
    """P = 1/2, 1/4 and beta 1: -(1/2 log 2 + 1/4 log 4) / 2 = -(log 2) / 2, slopes -1/4 and -1/8."""
    stats = _stats([[math.log(2), math.log(4)]], requires_grad=True)
    loss_B = wga.METHOD.forget_loss(_batch(stats), wga.WGAParams(beta=1.0))
    assert float(loss_B.detach()) == pytest.approx(-math.log(2) / 2, rel=1e-6)
    loss_B.sum().backward()
    assert stats.token_nll_BA.grad is not None
    assert stats.token_nll_BA.grad[0].tolist() == pytest.approx([-1 / 4, -1 / 8], rel=1e-6)


@given(row=NLLS, beta=st.floats(0, 5))
def test_wga_is_the_equation_with_constant_weights(row: list[float], beta: float) -> None:
    _assert_weighted_ascent(wga.METHOD, wga.WGAParams(beta=beta), row, _weights(row, beta))


def test_satimp_weighs_a_token_by_both_criteria() -> None:
    """P = 1/2, 1/4, betas 2, 1: weights 1/4 1/2 = 1/8 and 1/16 3/4 = 3/64.

    -(1/8 log 2 + 3/64 log 4) / 2 = -7/64 log 2, slopes -1/16 and -3/128.
    """
    stats = _stats([[math.log(2), math.log(4)]], requires_grad=True)
    loss_B = satimp.METHOD.forget_loss(_batch(stats), satimp.SatImpParams(beta1=2.0, beta2=1.0))
    assert float(loss_B.detach()) == pytest.approx(-7 / 64 * math.log(2), rel=1e-6)
    loss_B.sum().backward()
    assert stats.token_nll_BA.grad is not None
    assert stats.token_nll_BA.grad[0].tolist() == pytest.approx([-1 / 16, -3 / 128], rel=1e-6)


@given(row=NLLS, beta1=st.floats(0, 5), beta2=st.floats(0, 5))
def test_satimp_is_the_equation_with_constant_weights(row: list[float], beta1: float, beta2: float) -> None:
    params = satimp.SatImpParams(beta1=beta1, beta2=beta2)
    _assert_weighted_ascent(satimp.METHOD, params, row, _weights(row, beta1, beta2))


def test_satimp_pushes_hardest_at_five_sixths_and_keeps_small_weights() -> None:
    """Betas 5, 1: p^5 (1 - p) peaks at p = 5/6; at nll 1e-6, 1 - p = 1e-6, 1 - exp(-nll) in float32 is 5 % off."""
    peak = -math.log(5 / 6)
    stats = _stats([[0.5 * peak, peak, 2 * peak, 1e-6, 0.0]], requires_grad=True)
    satimp.METHOD.forget_loss(_batch(stats), satimp.SatImpParams()).sum().backward()
    assert stats.token_nll_BA.grad is not None
    below, at, above, memorised, certain = (-5 * stats.token_nll_BA.grad[0]).tolist()
    assert at > max(below, above)
    assert at == pytest.approx(5**5 / 6**6, rel=1e-5)
    assert (memorised, certain) == (pytest.approx(1e-6, rel=1e-4), 0.0)


def test_without_their_weights_wga_and_satimp_are_gradient_difference() -> None:
    """Exponents of 0 are weights of 1, also at p = 1; without importance, SatImp is WGA."""
    stats = _stats([[1.0, 3.0], [0.0], [0.25, 0.5]])
    difference_B = grad_diff.METHOD.forget_loss(_batch(stats), grad_diff.GradDiffParams())
    torch.testing.assert_close(wga.METHOD.forget_loss(_batch(stats), wga.WGAParams(beta=0)), difference_B)
    unweighted = satimp.SatImpParams(beta1=0, beta2=0)
    torch.testing.assert_close(satimp.METHOD.forget_loss(_batch(stats), unweighted), difference_B)
    saturation_B = satimp.METHOD.forget_loss(_batch(stats), satimp.SatImpParams(beta1=2, beta2=0))
    torch.testing.assert_close(saturation_B, wga.METHOD.forget_loss(_batch(stats), wga.WGAParams(beta=2)))


@EVERY_ON_NLLS
def test_only_answer_tokens_count(method: Method[MethodParams]) -> None:
    """A prompt before and padding behind change neither the loss nor, whatever stands there, get a gradient."""
    raw_BA = torch.tensor([[9.0, 1.0, 3.0, 7.0], [9.0, 8.0, 2.0, 7.0]], requires_grad=True)
    mask_BA = torch.tensor([[False, True, True, False], [False, False, True, False]])
    stats = AnswerStats(token_nll_BA=raw_BA.masked_fill(~mask_BA, 0.0), mask_BA=mask_BA)
    loss_B = method.forget_loss(_batch(stats, REFERENCE_B), method.params())
    torch.testing.assert_close(
        loss_B, method.forget_loss(_batch(_stats([[1.0, 3.0], [2.0]]), REFERENCE_B), method.params())
    )
    loss_B.sum().backward()
    assert raw_BA.grad is not None
    assert raw_BA.grad[~mask_BA].tolist() == [0.0] * 5


@EVERY_ON_NLLS
def test_descent_on_the_loss_makes_every_answer_token_less_likely(method: Method[MethodParams]) -> None:
    stats = _stats([[1.0, 3.0], [2.0]], requires_grad=True)
    method.forget_loss(_batch(stats, REFERENCE_B), method.params()).sum().backward()
    assert stats.token_nll_BA.grad is not None
    assert bool((stats.token_nll_BA.grad[stats.mask_BA] < 0).all())


@EVERY_ON_NLLS
def test_each_row_has_its_own_loss(method: Method[MethodParams]) -> None:
    """One number per row, and a row's neighbours in the batch do not change it."""
    both_B = method.forget_loss(_batch(_stats([[1.0, 3.0], [2.0]]), REFERENCE_B), method.params())
    alone_B = [
        method.forget_loss(_batch(_stats([row]), REFERENCE_B[i : i + 1]), method.params())
        for i, row in enumerate([[1.0, 3.0], [2.0]])
    ]
    torch.testing.assert_close(both_B, torch.cat(alone_B))


@EVERY
def test_a_method_says_what_it_is(method: AnyMethod) -> None:
    assert method.title
    assert method.version
    assert "arXiv" in method.source
    assert ("retain" in method.needs) == method.params().retains


@EVERY
def test_every_parameter_is_described_and_bounded(method: AnyMethod) -> None:
    params: type[MethodParams] = method.params
    for name, field in params.model_fields.items():
        assert field.title, name
        assert field.description, name
        assert field.metadata or get_origin(field.annotation) is Literal, f"{name} has no bounds"
    with pytest.raises(ValidationError, match="extra"):
        params.model_validate({"colour": 1})
    with pytest.raises(ValidationError):
        params.model_validate({"gamma": 0.0})


def test_ascent_takes_no_retain_weight() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 0"):
        grad_ascent.GradAscentParams(alpha=1.0)

"""Losses on logits, hidden states and other answers, against plain Python in double precision, token by token."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from pipelines.methods import alt_po, ce_u, dpo, idk, kl_min, pdu, rmu, undial
from pipelines.methods.base import EpochMeans, ForgetBatch, Method, Readings
from pipelines.scoring.likelihood import AnswerStats
from tests.pipelines.methods.made import MASK_BA, WIDTH, made_batch, made_readings

SEEDS = pytest.mark.parametrize("seed", range(4))


def _lists(tensor: torch.Tensor | None) -> list[Any]:
    assert tensor is not None
    values: list[Any] = tensor.detach().double().tolist()
    return values


def _softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    powers = [math.exp(z - top) for z in logits]
    return [p / sum(powers) for p in powers]


def _cross_entropy(target: list[float], logits: list[float]) -> float:
    return -sum(t * math.log(p) for t, p in zip(target, _softmax(logits), strict=True) if t)


def _answer_positions(readings: Readings, b: int) -> list[int]:
    return [a for a in range(MASK_BA.shape[1]) if readings.stats.mask_BA[b, a]]


def _without(method: Method[Any], batch: ForgetBatch, **params: Any) -> list[float]:
    values: list[float] = method.forget_loss(batch, method.params(**params)).tolist()
    return values


@SEEDS
def test_undial_is_cross_entropy_to_the_lowered_start_distribution(seed: int) -> None:
    read = made_readings(seed=seed)
    expected = []
    for b in range(2):
        losses = []
        for a in _answer_positions(read, b):
            lowered = list(_lists(read.reference_logits_BAV)[b][a])
            lowered[int(_lists(read.labels_BA)[b][a])] -= 2.5
            losses.append(_cross_entropy(_softmax(lowered), _lists(read.logits_BAV)[b][a]))
        expected.append(sum(losses) / len(losses))
    found = _without(undial.METHOD, ForgetBatch(read, {}), beta=2.5)
    assert found == pytest.approx(expected, rel=1e-5)


def test_undial_wants_the_lowered_start_distribution_and_nothing_further() -> None:
    """Its slope in the logits is softmax(z) - target, over the tokens of the row: 0 where the target is reached."""
    read = made_readings(seed=0)
    assert read.reference_logits_BAV is not None
    assert read.labels_BA is not None
    reached = read.reference_logits_BAV.clone()
    reached.scatter_add_(-1, read.labels_BA.unsqueeze(-1), torch.full((*MASK_BA.shape, 1), -10.0))
    reached.requires_grad_()
    batch = ForgetBatch(
        Readings(
            stats=read.stats,
            labels_BA=read.labels_BA,
            logits_BAV=reached,
            reference_logits_BAV=read.reference_logits_BAV,
        ),
        {},
    )
    undial.METHOD.forget_loss(batch, undial.UndialParams()).sum().backward()
    assert reached.grad is not None
    torch.testing.assert_close(reached.grad, torch.zeros_like(reached), atol=1e-6, rtol=0)


@SEEDS
def test_ce_u_is_cross_entropy_to_itself_without_the_true_token(seed: int) -> None:
    """The first answer token is spared; the second row has no other, so there it counts."""
    read = made_readings(seed=seed)
    expected = []
    for b in range(2):
        losses = []
        for a in _answer_positions(read, b)[1:] or _answer_positions(read, b):
            logits = _lists(read.logits_BAV)[b][a]
            others = [z if v != int(_lists(read.labels_BA)[b][a]) else -math.inf for v, z in enumerate(logits)]
            losses.append(_cross_entropy(_softmax(others), logits))
        expected.append(sum(losses) / len(losses))
    assert _without(ce_u.METHOD, ForgetBatch(read, {})) == pytest.approx(expected, rel=1e-5)


def test_ce_u_pushes_a_token_by_its_probability() -> None:
    """With target q (0 at the true token) the slope in z is softmax(z) - q, over the tokens of the row.

    At the true token that is its probability; the target itself has no slope.
    """
    read = made_readings(seed=1)
    ce_u.METHOD.forget_loss(ForgetBatch(read, {}), ce_u.CEUParams()).sum().backward()
    assert read.logits_BAV is not None
    grad_BAV, p_BAV = read.logits_BAV.grad, read.logits_BAV.detach().softmax(-1)
    assert grad_BAV is not None
    assert read.labels_BA is not None
    for b, a, n in ((0, 1, 2), (0, 2, 2), (1, 0, 1)):
        y = int(read.labels_BA[b, a])
        q_V = p_BAV[b, a].clone().index_fill(0, torch.tensor(y), 0.0) / (1 - p_BAV[b, a, y])
        torch.testing.assert_close(grad_BAV[b, a], (p_BAV[b, a] - q_V) / n, atol=1e-6, rtol=1e-4)
    assert not grad_BAV[0, 0].any()


@SEEDS
def test_pdu_flattens_the_margin_of_the_largest_logit(seed: int) -> None:
    read = made_readings(seed=seed)
    expected = []
    for b in range(2):
        rows = [_lists(read.logits_BAV)[b][a] for a in _answer_positions(read, b)]
        expected.append(sum((max(z) - sum(z) / len(z)) ** 2 for z in rows) / len(rows))
    assert _without(pdu.METHOD, ForgetBatch(read, {})) == pytest.approx(expected, rel=1e-5)


def test_the_dual_variable_rises_above_the_bound_and_falls_below_it_but_not_under_zero() -> None:
    """Lambda 2, eta 5, bound .3: 2 + 5 (.5 - .3) = 3; 2 + 5 (.1 - .3) = 1; 2 + 5 (0 - .3) = .5; 1 - 1.5 < 0 is 0."""
    params = pdu.PDUParams(alpha=2.0, warmup=1)

    def after(carried: float, retain_loss: float, *, epochs: int = 2) -> float:
        means = EpochMeans(epochs=epochs, forget_nll=9.0, retain_loss=retain_loss)
        return pdu.after_epoch((carried,), means, params)[0]

    assert pdu.first(params) == (2.0,)
    assert [after(2.0, 0.5), after(2.0, 0.1), after(2.0, 0.0), after(1.0, 0.0)] == pytest.approx([3.0, 1.0, 0.5, 0.0])
    assert after(2.0, 0.5, epochs=1) == 2.0
    assert pdu.coefficients((3.0,), params).retain * params.alpha == 3.0
    assert pdu.coefficients((3.0,), pdu.PDUParams(alpha=0)).retain == 1.0


@SEEDS
@pytest.mark.parametrize(("module", "name"), [(dpo, "refusal"), (alt_po, "alternate")])
def test_preference_of_the_other_answer_is_the_equation(module: Any, name: str, seed: int) -> None:
    """-(2 / b) log sigmoid(b ((log p_w - log ref_w) - (log p_l - log ref_l))), the answers' tokens one by one."""
    batch, beta, expected = made_batch(module.METHOD, seed=seed), 0.7, []
    for b in range(2):
        ratio = {}
        for which, read in (("w", batch.companions[name]), ("l", batch.rows)):
            at = [(a, int(_lists(read.labels_BA)[b][a])) for a in _answer_positions(read, b)]
            now = sum(math.log(_softmax(_lists(read.logits_BAV)[b][a])[y]) for a, y in at)
            start = sum(math.log(_softmax(_lists(read.reference_logits_BAV)[b][a])[y]) for a, y in at)
            ratio[which] = now - start
        expected.append(-2 / beta * math.log(1 / (1 + math.exp(-beta * (ratio["w"] - ratio["l"])))))
    assert _without(module.METHOD, batch, beta=beta) == pytest.approx(expected, rel=1e-4)


def test_preference_starts_at_two_over_beta_log_two_and_pushes_both_ways() -> None:
    """At the start model the sigmoid is 1/2: slope of the loss in S_l is -1, in S_w +1."""
    nll_BA = torch.tensor([[1.0, 3.0], [2.0, 0.0]], requires_grad=True)
    other_BA = torch.tensor([[0.5, 0.5], [4.0, 0.0]], requires_grad=True)
    mask_BA = torch.tensor([[True, True], [True, False]])
    rows, refusal = (
        Readings(stats=AnswerStats(nll, mask_BA), reference_nll_B=nll.detach().sum(1)) for nll in (nll_BA, other_BA)
    )
    loss_B = dpo.METHOD.forget_loss(ForgetBatch(rows, {"refusal": refusal}), dpo.DPOParams(beta=0.1))
    torch.testing.assert_close(loss_B, torch.full((2,), 20 * math.log(2)))
    loss_B.sum().backward()
    assert nll_BA.grad is not None
    assert other_BA.grad is not None
    torch.testing.assert_close(nll_BA.grad[mask_BA], torch.full((3,), -1.0))
    torch.testing.assert_close(other_BA.grad[mask_BA], torch.full((3,), 1.0))


@SEEDS
def test_idk_is_the_refusals_likelihood_alone(seed: int) -> None:
    batch = made_batch(idk.METHOD, seed=seed)
    read = batch.companions["refusal"]
    expected = []
    for b in range(2):
        at = [(a, int(_lists(read.labels_BA)[b][a])) for a in _answer_positions(read, b)]
        expected.append(-sum(math.log(_softmax(_lists(read.logits_BAV)[b][a])[y]) for a, y in at) / len(at))
    assert _without(idk.METHOD, batch) == pytest.approx(expected, rel=1e-5)


@SEEDS
def test_rmu_is_the_distance_from_the_steering_vector(seed: int) -> None:
    read = made_readings(seed=seed)
    u = _lists(rmu.direction(WIDTH, seed=5))
    expected = []
    for b in range(2):
        states = [_lists(read.hidden_BAD)[b][a] for a in _answer_positions(read, b)]
        per_token = [sum((h - 3.0 * v) ** 2 for h, v in zip(state, u, strict=True)) / WIDTH for state in states]
        expected.append(sum(per_token) / len(per_token))
    assert _without(rmu.METHOD, ForgetBatch(read, {}), steering=3.0, direction=5) == pytest.approx(expected, rel=1e-5)


def test_the_steering_direction_is_a_unit_vector_of_the_positive_orthant_from_its_seed() -> None:
    u_D = rmu.direction(512, seed=1)
    assert float(u_D.norm()) == pytest.approx(1.0, rel=1e-5)
    assert bool((u_D >= 0).all())
    assert torch.equal(u_D, rmu.direction(512, seed=1))
    assert not torch.equal(u_D, rmu.direction(512, seed=2))


def test_rmu_trains_its_layer_and_the_two_below() -> None:
    """Depth 16: two fifths are 6.4, so layer 6 is read, and modules 3, 4, 5 train, counted from 0."""
    assert rmu.trains(rmu.RMUParams(), 16) == tuple(f"*.{i}.mlp.down_proj.*" for i in (3, 4, 5))
    assert rmu.trains(rmu.RMUParams(layer=1, modules="mlp.c_proj"), 12) == ("*.0.mlp.c_proj.*",)


def test_kl_min_is_ascent_with_its_own_retain_term() -> None:
    assert kl_min.KLMinParams().retain_term == "kl"
    batch = made_batch(kl_min.METHOD)
    torch.testing.assert_close(kl_min.METHOD.forget_loss(batch, kl_min.KLMinParams()), -batch.stats.nll_mean_B)


@pytest.mark.parametrize("method", [undial.METHOD, pdu.METHOD], ids=["undial", "pdu"])
def test_the_gradient_is_the_slope(method: Method[Any]) -> None:
    """Central differences in double precision."""
    read = made_readings(seed=2)
    assert read.logits_BAV is not None
    assert read.reference_logits_BAV is not None
    fixed = replace(read, reference_logits_BAV=read.reference_logits_BAV.double())

    def loss(logits_BAV: torch.Tensor) -> torch.Tensor:
        return method.forget_loss(ForgetBatch(replace(fixed, logits_BAV=logits_BAV), {}), method.params()).sum()

    assert torch.autograd.gradcheck(loss, read.logits_BAV.detach().double().requires_grad_())

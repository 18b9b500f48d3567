"""The one-buffer gradient is the gradient: against log-softmaxes in double precision and against finite differences."""

import torch

from pipelines.training.token_kl import token_kl


def _example() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    now, start = (4 * torch.randn((2, 3, 7), generator=draw, dtype=torch.float64) for _ in range(2))
    return now.requires_grad_(), start


def test_values_and_gradients_are_those_of_log_softmax() -> None:
    """KL = sum p_start (log p_start - log p_now); the weights reach every position apart."""
    now, start = _example()
    weights = torch.tensor([[1.0, -2.0, 0.0], [0.5, 3.0, 1.0]], dtype=torch.float64)
    slow = (start.softmax(-1) * (start.log_softmax(-1) - now.log_softmax(-1))).sum(-1)
    torch.testing.assert_close(token_kl(now, start), slow, atol=1e-12, rtol=1e-12)
    (fast_grad,) = torch.autograd.grad((weights * token_kl(now, start)).sum(), now)
    (slow_grad,) = torch.autograd.grad((weights * slow).sum(), now)
    torch.testing.assert_close(fast_grad, slow_grad, atol=1e-12, rtol=1e-12)


def test_finite_differences_agree_and_the_logits_stay_as_they_were() -> None:
    now, start = _example()
    before = now.detach().clone(), start.clone()
    assert torch.autograd.gradcheck(lambda logits: token_kl(logits, start), (now,))
    assert torch.equal(now, before[0])
    assert torch.equal(start, before[1])


def test_a_model_at_its_start_has_no_distance_and_no_slope() -> None:
    now, _ = _example()
    kl_BA = token_kl(now, now.detach())
    (grad,) = torch.autograd.grad(kl_BA.sum(), now)
    assert float(kl_BA.detach().abs().max()) < 1e-12
    assert float(grad.abs().max()) < 1e-12

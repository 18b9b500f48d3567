"""The one-buffer gradient is the gradient: against log-softmax in double precision and against finite differences."""

import torch

from pipelines.training.token_nll import token_nll


def _example() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn((2, 3, 7), generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(0, 7, (2, 3), generator=generator)


def test_values_and_gradients_are_those_of_log_softmax() -> None:
    logits, labels = _example()
    weights = torch.tensor([[1.0, -2.0, 0.0], [0.5, 3.0, 1.0]], dtype=torch.float64)
    slow = -logits.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(token_nll(logits, labels), slow, atol=1e-12, rtol=1e-12)
    (fast_grad,) = torch.autograd.grad((weights * token_nll(logits, labels)).sum(), logits)
    (slow_grad,) = torch.autograd.grad((weights * slow).sum(), logits)
    torch.testing.assert_close(fast_grad, slow_grad, atol=1e-12, rtol=1e-12)


def test_finite_differences_agree_and_the_logits_stay_as_they_were() -> None:
    logits, labels = _example()
    before = logits.detach().clone()
    assert torch.autograd.gradcheck(token_nll, (logits, labels))
    assert torch.equal(logits, before)


def test_other_readers_of_the_logits_add_their_gradients() -> None:
    """A loss that also reads the logits directly, as KL terms do: gradients add up."""
    logits, labels = _example()
    (both,) = torch.autograd.grad(token_nll(logits, labels).sum() + logits.square().sum(), logits)
    (one,) = torch.autograd.grad(token_nll(logits, labels).sum(), logits)
    torch.testing.assert_close(both, one + 2 * logits)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[[1e4, -1e4, 0.0]]], requires_grad=True)
    nll = token_nll(logits, torch.tensor([[1]]))
    nll.sum().backward()
    assert nll.item() == 2e4
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[[1.0, -1.0, 0.0]]]))

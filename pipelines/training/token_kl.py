"""KL(start model || model) of one position, with a gradient that takes one buffer instead of five.

Written out over log-softmaxes, the gradient goes through as many tensors of the logits' size as there are operations,
the start model's own among them. Here it is rebuilt from the logits: d KL / d logits = softmax(logits) -
softmax(start model's logits). The same numbers up to rounding. Differentiable once, and in the model's logits only.

Shapes: B rows, A positions, V vocabulary.
"""

import torch
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F


class _TokenKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, logits_BAV: torch.Tensor, start_BAV: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(logits_BAV, start_BAV)
        # Row by row, because every step of it is as large as what it is made from.
        rows = zip(logits_BAV, start_BAV, strict=True)
        return torch.stack([_kl(logits_AV, start_AV) for logits_AV, start_AV in rows])

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_BA: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits_BAV, start_BAV = ctx.saved_tensors  # type: ignore[attr-defined]  # set by save_for_backward
        grad_BAV = logits_BAV.softmax(-1)
        for grad_AV, start_AV in zip(grad_BAV, start_BAV, strict=True):
            grad_AV.sub_(start_AV.softmax(-1))
        return grad_BAV.mul_(grad_BA.unsqueeze(-1)), None


def _kl(logits_AV: torch.Tensor, start_AV: torch.Tensor) -> torch.Tensor:
    log_p_AV, start_log_p_AV = logits_AV.log_softmax(-1), start_AV.log_softmax(-1)
    return F.kl_div(log_p_AV, start_log_p_AV, log_target=True, reduction="none").sum(-1)


def token_kl(logits_BAV: torch.Tensor, start_BAV: torch.Tensor) -> torch.Tensor:
    """KL(softmax(start) || softmax(logits)) of every position: kl_BA, in nats.

    Args:
        logits_BAV: floating point; not changed.
        start_BAV: the start model's, a constant.
    """
    kl_BA: torch.Tensor = _TokenKL.apply(logits_BAV, start_BAV)  # type: ignore[no-untyped-call]
    return kl_BA

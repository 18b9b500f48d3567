"""The negative log-likelihood of one token per position, with a gradient that takes one buffer instead of four.

Logits over a vocabulary are the largest tensor of a step. Written out as ``logsumexp - gather``, their gradient goes
through as many copies of them as there are operations; here it is rebuilt from the logits at once:
d nll / d logits = softmax(logits) - onehot(token). The same numbers up to rounding. Differentiable once.

Shapes: B rows, A positions, V vocabulary.
"""

import torch
from torch.autograd.function import FunctionCtx, once_differentiable


class _TokenNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, logits_BAV: torch.Tensor, labels_BA: torch.Tensor) -> torch.Tensor:
        # Row by row, because what is made on the way is as large as the logits.
        total_BA = torch.stack([logits_AV.logsumexp(dim=-1) for logits_AV in logits_BAV])
        ctx.save_for_backward(logits_BAV, labels_BA, total_BA)
        return total_BA - logits_BAV.gather(-1, labels_BA.unsqueeze(-1)).squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_BA: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits_BAV, labels_BA, total_BA = ctx.saved_tensors  # type: ignore[attr-defined]  # set by save_for_backward
        grad_BAV = (logits_BAV - total_BA.unsqueeze(-1)).exp_()
        grad_BAV.scatter_add_(-1, labels_BA.unsqueeze(-1), grad_BAV.new_full((*labels_BA.shape, 1), -1.0))
        return grad_BAV.mul_(grad_BA.unsqueeze(-1)), None


def token_nll(logits_BAV: torch.Tensor, labels_BA: torch.Tensor) -> torch.Tensor:
    """-log softmax(logits)[label] of every position: nll_BA.

    Args:
        logits_BAV: floating point; not changed.
        labels_BA: a token of the vocabulary everywhere, also where the caller has no use for the answer.
    """
    nll_BA: torch.Tensor = _TokenNLL.apply(logits_BAV, labels_BA)  # type: ignore[no-untyped-call]
    return nll_BA

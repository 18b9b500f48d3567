"""Efficient unlearning layers: one adapter per request, a student that leaves its teacher on the forget rows only.

The teacher is the start model. On retain rows the student stays with it and keeps doing its task; on forget rows it
moves away, and the language modelling loss is turned round. The adapters of several requests are fused in closed form
by :func:`pipelines.models.weights.fused`, and one of them is taken back by fusing the others.
"""

import torch
from pydantic import Field
from torch.nn import functional as F

from pipelines.methods.base import ForgetBatch, Method, MethodParams, RetainTerm, brought


class EULParams(MethodParams):
    """Parameters of EUL."""

    reverse: float = Field(
        default=0.5, ge=0, le=1000, title="Reverse LM", description="Weight of the turned language modelling loss."
    )
    retain_term: RetainTerm = Field(
        default="kl_nll", title="Retain term", description="kl_nll: stay with the teacher and keep doing the task."
    )


def forget_loss(batch: ForgetBatch, params: EULParams) -> torch.Tensor:
    """-KL(teacher || student) - reverse NLL, means over answer tokens: loss_B.

    arXiv 2310.20150, the teacher-student objective and the reversed language modelling loss on forget rows.
    """
    teacher_BAV = brought(batch.rows.reference_logits_BAV, name="reference_logits").log_softmax(-1)
    student_BAV = brought(batch.rows.logits_BAV, name="logits").log_softmax(-1)
    kl_BA = F.kl_div(student_BAV, teacher_BAV, log_target=True, reduction="none").sum(-1)
    kl_B = kl_BA.masked_fill(~batch.stats.mask_BA, 0.0).sum(1) / batch.stats.n_tokens_B
    return -kl_B - params.reverse * batch.stats.nll_mean_B


METHOD = Method(
    name="eul",
    title="Efficient unlearning layers, one adapter per request",
    version="1",
    source="Chen and Yang 2023, arXiv 2310.20150, teacher-student, task and language modelling objectives",
    params=EULParams,
    needs=frozenset({"reference_logits", "retain"}),
    forget_loss=forget_loss,
    adapters="always",
)

"""EUL against the equations written out, token by token, in double precision."""

import math

import pytest
import torch

from pipelines.methods import eul
from pipelines.methods.base import ForgetBatch, Readings
from pipelines.scoring.likelihood import AnswerStats
from pipelines.training.objective import RETAIN_TERMS

V = 5
LENGTHS = (3, 1)
"""Answer tokens of two rows; the shorter one stands at the left, padded behind."""


def _readings(seed: int) -> Readings:
    generator = torch.Generator().manual_seed(seed)
    student_BAV, teacher_BAV = (torch.randn(2, max(LENGTHS), V, generator=generator) for _ in range(2))
    token_BA = torch.randint(0, V, (2, max(LENGTHS)), generator=generator)
    mask_BA = torch.tensor([[a < n for a in range(max(LENGTHS))] for n in LENGTHS])
    nll_BA = -student_BAV.log_softmax(-1).gather(-1, token_BA.unsqueeze(-1)).squeeze(-1).masked_fill(~mask_BA, 0.0)
    stats = AnswerStats(token_nll_BA=nll_BA, mask_BA=mask_BA)
    return Readings(stats=stats, logits_BAV=student_BAV, reference_logits_BAV=teacher_BAV)


def _softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(value) for value in logits]
    return [power / sum(powers) for power in powers]


def _row(readings: Readings, b: int) -> tuple[float, float]:
    """Mean KL(teacher || student) and mean NLL over a row's answer tokens."""
    assert readings.logits_BAV is not None
    assert readings.reference_logits_BAV is not None
    kl = nll = 0.0
    for a in range(LENGTHS[b]):
        student, teacher = (_softmax(x[b, a].tolist()) for x in (readings.logits_BAV, readings.reference_logits_BAV))
        kl += sum(p * math.log(p / q) for p, q in zip(teacher, student, strict=True))
        nll += float(readings.stats.token_nll_BA[b, a])
    return kl / LENGTHS[b], nll / LENGTHS[b]


@pytest.mark.parametrize("reverse", [0.0, 0.5, 2.0])
def test_the_student_leaves_its_teacher_on_forget_rows(reverse: float) -> None:
    readings = _readings(1)
    loss_B = eul.METHOD.forget_loss(ForgetBatch(rows=readings, companions={}), eul.EULParams(reverse=reverse))
    expected = [-kl - reverse * nll for kl, nll in (_row(readings, b) for b in range(2))]
    assert loss_B.tolist() == pytest.approx(expected, rel=1e-5)


def test_and_stays_with_it_and_with_the_task_on_retain_rows() -> None:
    readings = _readings(2)
    expected = [kl + nll for kl, nll in (_row(readings, b) for b in range(2))]
    assert RETAIN_TERMS["kl_nll"](readings).tolist() == pytest.approx(expected, rel=1e-5)
    assert eul.EULParams().retain_term == "kl_nll"


def test_what_stands_behind_a_row_does_not_count() -> None:
    readings = _readings(3)
    assert readings.logits_BAV is not None
    changed_BAV = readings.logits_BAV.clone()
    changed_BAV[1, 1:] += torch.randn(2, V, generator=torch.Generator().manual_seed(9))
    other = Readings(stats=readings.stats, logits_BAV=changed_BAV, reference_logits_BAV=readings.reference_logits_BAV)
    losses = [
        eul.METHOD.forget_loss(ForgetBatch(rows=rows, companions={}), eul.EULParams()) for rows in (readings, other)
    ]
    torch.testing.assert_close(losses[0], losses[1])

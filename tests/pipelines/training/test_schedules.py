"""Factors that follow from the step's number."""

from pipelines.training.parts import At, Coefficients
from pipelines.training.schedules import Gradual, turn
from tests.tiny import tiny_model


def test_gradual_grows_to_one() -> None:
    factor = Gradual().hooks(tiny_model(), {}).coefficients
    assert factor is not None
    found = [factor(At(step=9 * epoch, epoch=epoch, epochs=4)) for epoch in range(4)]
    assert found == [Coefficients(forget=strength) for strength in (0.25, 0.5, 0.75, 1.0)]


def test_turns_forget_first_and_keep_with_the_penalties() -> None:
    found = [turn(At(step=step, epoch=0, epochs=1)) for step in range(3)]
    forget, keep = Coefficients(1.0, 0.0, 0.0), Coefficients(0.0, 1.0, 1.0)
    assert found == [forget, keep, forget]

"""What earlier requests had removed is held to the same marks: a later request may not bring it back."""

import pytest

from pipelines.gates import GATES, Judged
from pipelines.records import GateResult
from tests.scored import evaluation, measurement

METRICS = {"extraction_strength": "extraction_strength_gap", "probability": "probability_gap"}


def _judge(gate: str, *, earlier: float | None, n_scored: int = 20) -> GateResult:
    metric = METRICS[gate]
    candidate = evaluation(
        "candidate",
        measurement(metric, "forget", 0.0, spread=0.01),
        measurement(metric, "earlier_1", 0.0, spread=0.01),
        measurement(metric, "earlier_2", earlier, spread=0.02, n_scored=n_scored),
    )
    chosen = GATES.require(gate)
    return chosen.judge(Judged(candidate=candidate, start=None, reference=None), chosen.params(margin=0.1))


@pytest.mark.parametrize("gate", METRICS)
@pytest.mark.parametrize(("value", "passed"), [(0.0, True), (0.07, True), (0.09, False), (0.5, False)])
def test_a_deletion_that_came_back_fails(gate: str, value: float, passed: bool) -> None:
    """The interval's upper end is .02 above the value; the mark is .1."""
    result = _judge(gate, earlier=value)
    assert result.passed == passed
    assert passed or "earlier_2" in result.reason
    assert result.measurements == tuple(f"candidate/{s}/{METRICS[gate]}" for s in ("forget", "earlier_1", "earlier_2"))


@pytest.mark.parametrize("gate", METRICS)
def test_a_deletion_that_was_not_measured_fails(gate: str) -> None:
    assert not _judge(gate, earlier=None).passed
    assert not _judge(gate, earlier=0.0, n_scored=19).passed


def test_over_forgetting_an_earlier_deletion_fails_the_two_sided_gate() -> None:
    assert not _judge("probability", earlier=-0.5).passed
    assert _judge("extraction_strength", earlier=-0.5).passed

"""What a model lost against an earlier one, by hand: paired row by row, and only where the same was asked."""

import math

import pytest

from pipelines.config import Policy
from pipelines.errors import BadInput
from pipelines.evaluation.general_readings import GeneralReading, lost, once, wanted_tasks
from pipelines.evaluation.statistics import Bootstrap
from tests.scored import measurement

BOOTSTRAP = Bootstrap(samples=2000, confidence=0.95, seed=0)
BEFORE = (1.0,) * 30 + (0.0,) * 10
AFTER = (1.0,) * 26 + (0.0,) * 13 + (1.0,)
"""Four rows that were right are wrong, one that was wrong is right: 3 of 40 rows lost, 35 as before."""


def reading(items: tuple[float, ...], *, better: bool | None = True, version: str = "0.4+2+abc") -> GeneralReading:
    value = math.fsum(items) / len(items) if items else 0.5
    found = measurement("lm_eval_acc", "towns", value, spread=0.1, version=version)
    found = found.model_copy(update={"n_scored": len(items), "n_expected": len(items)})
    return GeneralReading(measurement=found, higher_is_better=better, items=items)


def test_the_loss_is_paired() -> None:
    """Mean 3/40 = .075; the differences' variance is (5 - .225)/40, so the standard error is .055.

    Unpaired, the two accuracies of .75 and .675 would have one of .1.
    """
    [found] = lost([reading(AFTER)], [reading(BEFORE)], bootstrap=BOOTSTRAP)
    assert (found.metric, found.split, found.version) == ("lm_eval_acc_lost", "towns", "0.4+2+abc")
    assert found.value == pytest.approx(3 / 40)
    assert found.low is not None
    assert found.high is not None
    error = math.sqrt((5 / 40 - (3 / 40) ** 2) / 40)
    assert found.low == pytest.approx(3 / 40 - 1.96 * error, abs=0.02)
    assert found.high == pytest.approx(3 / 40 + 1.96 * error, abs=0.02)
    assert found.complete


def test_a_model_that_answers_alike_has_lost_nothing() -> None:
    [found] = lost([reading(BEFORE)], [reading(BEFORE)], bootstrap=BOOTSTRAP)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_where_less_is_better_more_is_lost() -> None:
    [found] = lost([reading(AFTER, better=False)], [reading(BEFORE, better=False)], bootstrap=BOOTSTRAP)
    assert found.value == pytest.approx(-3 / 40)


@pytest.mark.parametrize(
    ("ours", "before"),
    [
        (reading(AFTER), reading(BEFORE, version="0.4+2+other")),
        (reading(AFTER[1:]), reading(BEFORE)),
        (reading(()), reading(())),
        (reading(AFTER, better=None), reading(BEFORE, better=None)),
    ],
    ids=["other rows", "fewer rows", "no rows", "no direction"],
)
def test_nothing_is_said_where_it_cannot_be_compared(ours: GeneralReading, before: GeneralReading) -> None:
    assert lost([ours], [before], bootstrap=BOOTSTRAP) == ()
    assert lost([ours], [], bootstrap=BOOTSTRAP) == ()


def test_a_number_that_two_names_lead_to_is_there_once() -> None:
    assert once([reading(BEFORE), reading(BEFORE)]) == (reading(BEFORE),)


def test_the_policys_tasks_are_run_beside_those_that_are_named() -> None:
    policy = Policy(name="p", description="d", gates={"general_tasks": {"most_lost": 0.02, "tasks": "towns,rivers"}})
    assert wanted_tasks(("lakes", "towns"), policy) == ("lakes", "towns", "rivers")
    assert wanted_tasks(("lakes",), Policy(name="p", description="d", gates={"depth": {"least": 0.5}})) == ("lakes",)
    assert wanted_tasks((), None) == ()
    with pytest.raises(BadInput, match="gate general_tasks: tasks"):
        wanted_tasks((), policy.model_copy(update={"gates": {"general_tasks": {"most_lost": 0.02, "tasks": "a, b"}}}))

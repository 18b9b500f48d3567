"""How several findings become one verdict, and which splits a gate looks at."""

from pipelines.gates import GATES, Judged
from pipelines.gates.base import all_of, at_most
from tests.scored import evaluation, measurement


def test_the_tightest_is_the_one_with_least_of_its_own_room_left() -> None:
    """.05 is half of a mark of .1, .04 is four fifths of one of .05: the first is tighter with more to spare."""
    half, most = at_most("half", high=0.05, limit=0.1), at_most("most", high=0.01, limit=0.05)
    assert half.slack > most.slack
    assert all_of([half, most]) == all_of([most, half]) == half


def test_every_mark_that_is_not_met_is_named_whichever_decides() -> None:
    """By its room the second fails by more; the third holds."""
    first, second, third = (at_most(name, high=high, limit=0.1) for name, high in (("a", 0.2), ("b", 0.3), ("c", 0.0)))
    found = all_of([first, second, third])
    assert not found.passed
    assert found.value == 0.3
    assert found.reason == f"{first.reason}; {second.reason}"


def test_rows_that_nobody_trained_on_need_not_be_answered_fluently() -> None:
    """The start model writes well on the holdout, too; the candidate need not, nor on the forget set."""
    splits = ("forget", "retain", "holdout")
    start = evaluation("start", *(measurement("fluency", split, 1.0) for split in splits))
    poor = {"forget": 0.1, "retain": 0.95, "holdout": 0.1}
    candidate = evaluation("candidate", *(measurement("fluency", split, value) for split, value in poor.items()))
    gate = GATES["fluency"]
    result = gate.judge(
        Judged(candidate=candidate, start=start, reference=None), gate.params.model_validate({"ratio": 0.9})
    )
    assert result.passed
    assert result.measurements == ("start/retain/fluency", "candidate/retain/fluency")

"""MUSE's six views of runs written by hand: what each is made of, and what is said where one cannot be had."""

from dataclasses import replace

import pytest

from pipelines.evaluation.muse import PastRun, View, muse_views
from pipelines.evaluation.muse_plot import muse_svg
from pipelines.records import Evaluation, Role
from tests.scored import evaluation, measurement

NAMES = (
    "verbatim_memorization",
    "knowledge_memorization",
    "privacy_leakage",
    "utility_preservation",
    "scalability",
    "sustainability",
)


def run_of(
    name: str,
    *,
    rows: int = 20,
    known: float = 0.2,
    kept: float = 0.9,
    version: str = "1",
    method: str = "npo 1",
    parent: str = "a" * 64,
    earlier: tuple[float, ...] = (),
) -> PastRun:
    """A run whose candidate knows so much of what was to go, to stay, and of what earlier requests had removed."""
    values: dict[Role, float] = {"start": 0.95, "candidate": known, "reference": 0.25}
    found = {
        role: _measured(role, value, rows=rows, kept=kept, version=version, earlier=earlier)
        for role, value in values.items()
    }
    return PastRun(name, method, parent, found)


def _measured(
    role: Role, known: float, *, rows: int, kept: float, version: str, earlier: tuple[float, ...]
) -> Evaluation:
    forget = measurement("knowledge_memorization", "forget", known, spread=0.1, version=version)
    splits = {f"earlier_{i}": value for i, value in enumerate(earlier, start=1)}
    return evaluation(
        role,
        measurement("verbatim_memorization", "forget", 0.1, spread=0.05),
        forget.model_copy(update={"n_expected": rows, "n_scored": rows}),
        measurement("knowledge_memorization", "retain", kept, version=version),
        measurement("privleak", "forget", -5.0),
        *(measurement("knowledge_memorization", split, value) for split, value in splits.items()),
    )


def views(run: PastRun, *others: PastRun, chain: tuple[str, ...] = ()) -> dict[str, View]:
    found = muse_views(run, others=others, chain=chain or (run.request_id,))
    assert tuple(view.name for view in found) == NAMES
    return {view.name: view for view in found}


def line(view: View, curve: str) -> list[tuple[str, int, float | None]]:
    [found] = [one for one in view.curves if one.name == curve]
    return [(point.request_id, point.x, point.measurement.value) for point in found.points]


def test_four_views_are_the_models_own_numbers() -> None:
    found = views(run_of("REQ-1", known=0.3, kept=0.8))
    assert line(found["knowledge_memorization"], "start") == [("REQ-1", 0, 0.95)]
    assert line(found["knowledge_memorization"], "candidate") == [("REQ-1", 0, 0.3)]
    assert line(found["utility_preservation"], "candidate") == [("REQ-1", 0, 0.8)]
    assert line(found["privacy_leakage"], "reference") == [("REQ-1", 0, -5.0)]
    assert line(found["verbatim_memorization"], "candidate") == [("REQ-1", 0, 0.1)]
    assert not any(found[name].missing for name in NAMES[:4])


def test_what_was_not_measured_is_said_to_be_missing() -> None:
    candidate = evaluation("candidate", measurement("privleak", "forget", None))
    found = views(replace(run_of("REQ-1"), evaluations={"candidate": candidate}))
    assert found["privacy_leakage"].missing == "privleak has no value on forget; it needs a holdout and a reference"
    assert found["verbatim_memorization"].missing == "verbatim_memorization has no value on forget"
    assert "stored here: none" in found["scalability"].missing


def test_scalability_follows_one_method_on_one_start_model_by_size() -> None:
    others = [
        run_of("REQ-40", rows=40, known=0.4, kept=0.7),
        run_of("REQ-10", rows=10, known=0.1, kept=0.95),
        run_of("REQ-OTHER", rows=80, method="grad_diff 1"),
        run_of("REQ-ELSEWHERE", rows=80, parent="b" * 64),
    ]
    run = run_of("REQ-20")
    found = views(run, *others, run)["scalability"]
    assert line(found, "retain") == [("REQ-10", 10, 0.95), ("REQ-20", 20, 0.9), ("REQ-40", 40, 0.7)]
    assert line(found, "forget") == [("REQ-10", 10, 0.1), ("REQ-20", 20, 0.2), ("REQ-40", 40, 0.4)]
    assert (found.missing, found.axis) == ("", "forget rows")
    alone = views(run, run_of("REQ-SAME"))["scalability"]
    assert alone.missing == (
        "needs runs of npo 1 on this start model with other numbers of forget rows; stored here: 20"
    )


def test_sustainability_follows_the_requests_that_led_here() -> None:
    first, last = run_of("REQ-1", kept=0.95), run_of("REQ-3", kept=0.6, earlier=(0.1, 0.45))
    found = views(last, first, run_of("REQ-2", earlier=(0.2,)), chain=("REQ-1", "REQ-2", "REQ-3"))["sustainability"]
    assert line(found, "retain") == [("REQ-1", 1, 0.95), ("REQ-2", 2, 0.9), ("REQ-3", 3, 0.6)]
    assert line(found, "earlier") == [("REQ-2", 2, 0.2), ("REQ-3", 3, 0.45)], "the set that is known best"
    assert found.missing == ""
    torn = views(last, first, chain=("REQ-1", "REQ-2", "REQ-3"))["sustainability"]
    assert torn.missing == "no evaluation stored here of REQ-2"
    assert line(torn, "retain") == [("REQ-1", 1, 0.95), ("REQ-3", 3, 0.6)]
    assert "the model's first" in views(first)["sustainability"].missing


@pytest.mark.parametrize("view", ["scalability", "sustainability"])
def test_what_another_version_measured_is_left_out_and_named(view: str) -> None:
    run, old = run_of("REQ-2", rows=30, version="2"), run_of("REQ-1", version="1")
    found = views(run, old, chain=("REQ-1", "REQ-2"))[view]
    assert [name for name, *_ in line(found, "retain")] == ["REQ-2"]
    assert "measured by another version: REQ-1" in found.missing


def test_the_picture_shows_every_view_and_is_the_same_each_time() -> None:
    run = run_of("REQ-3", earlier=(0.1,))
    found = muse_views(run, others=[run_of("REQ-1", rows=10)], chain=("REQ-1", "REQ-3"))
    picture = muse_svg(found)
    assert picture == muse_svg(found)
    assert picture.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert all(view.title in picture for view in found)
    assert "not measured" not in picture
    empty = muse_svg(
        muse_views(PastRun("REQ-1", "npo 1", "a" * 64, {"candidate": evaluation("candidate")}), others=(), chain=())
    )
    assert empty.count("not measured") == 6

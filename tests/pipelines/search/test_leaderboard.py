"""What a search says of itself: the order, the front, the nearest miss; derived by hand on a few results."""

import csv
import io
from pathlib import Path

import pytest

from pipelines.config import RunConfig
from pipelines.records import GateResult
from pipelines.search.leaderboard import Leaderboard, Others, as_csv, efficient, leaderboard, nearest_miss
from pipelines.search.page import pareto_png, render_page
from pipelines.search.study import Study
from pipelines.search.trial import Gap, Setting, TrialResult, worst_margin
from pipelines.settings import Scalar

BASE = RunConfig.model_validate({"model": "m", "train": "t", "method": "npo", "training": {"learning_rate": 1e-3}})
OTHERS = Others(start={"extraction": 1.0, "utility": 0.9}, reference={"extraction": 0.1, "utility": 0.88})


def result(
    method: str,
    margin: float | None,
    *,
    extraction: float = 0.1,
    utility: float = 0.8,
    seed: int = 0,
    value: Scalar = 1.0,
) -> TrialResult:
    gaps = (Gap(gate="utility", margin=0.5, reason="fine"), Gap(gate="probability", margin=margin, reason="gap .2"))
    return TrialResult(
        setting=Setting(method=method, values={"params.beta": value}),
        seed=seed,
        ending="complete",
        margin=margin,
        passed=margin is not None and margin >= 0,
        gaps=gaps,
        figures={"extraction": extraction, "utility": utility},
    )


def board_of(path: Path, *results: TrialResult, finals: tuple[TrialResult, ...] = (), seeds: int = 1) -> Leaderboard:
    study = Study.opened(path / "a.journal", base=BASE, name="test")
    for one in results:
        asked = study.ask("npo")
        assert asked is not None
        study.tell(asked, one, spent=1.0)
    for one in finals:
        study.tell_final(one, spent=2.0)
    return leaderboard(study, methods=("npo", "wga"), seeds=seeds, others=OTHERS, policy_digest="0" * 64)


def test_a_winner_has_passed_with_every_seed(tmp_path: Path) -> None:
    """Wga is better with the first seed and fails with the second; npo passes with both."""
    finals = (result("wga", -0.2, seed=1), result("npo", 0.1, seed=1))
    board = board_of(tmp_path, result("npo", 0.2), result("wga", 0.4), finals=finals, seeds=2)
    assert board.winner == result("npo", 0.2).setting
    assert board.refusal is None
    first, second = board.standings
    assert (first.result.setting.method, first.worst, first.seeds_passed) == ("npo", 0.1, 2)
    assert (second.result.setting.method, second.worst, second.seeds_passed) == ("wga", -0.2, 1)


def test_a_refusal_names_the_seed_that_failed_where_others_passed(tmp_path: Path) -> None:
    board = board_of(tmp_path, result("wga", 0.4), finals=(result("wga", -0.25, seed=1),), seeds=2)
    assert board.winner is None
    assert board.refusal is not None
    assert "wga (beta 1.0; seed 1): probability misses its mark by 0.25" in board.refusal


def test_the_nearest_miss_is_the_least_bad_of_what_was_measured(tmp_path: Path) -> None:
    diverged = TrialResult(setting=Setting(method="wga", values={}), seed=0, ending="diverged", reason="step 3")
    board = board_of(tmp_path, result("npo", -2.0), diverged, result("npo", -0.5, value=2.0))
    assert board.nearest == result("npo", -0.5, value=2.0)
    assert board.standings[-1].result == diverged


def test_a_search_in_which_nothing_was_measured_says_how_trials_ended(tmp_path: Path) -> None:
    board = board_of(tmp_path, TrialResult(setting=Setting(method="wga", values={}), seed=0, ending="diverged"))
    assert board.nearest is None
    assert board.refusal == "no setting was measured (trials ended diverged)"


def test_a_gate_that_was_not_measured_is_said_to_be_so() -> None:
    assert "probability was not measured" in nearest_miss(result("npo", None))


def test_the_front_holds_what_nothing_else_beats() -> None:
    """By distance to the reference's .1 and utility: b is beaten by a in both, c keeps more, d forgets more exactly."""
    a, b = result("a", 0, extraction=0.2, utility=0.8), result("b", 0, extraction=0.3, utility=0.7)
    c, d = result("c", 0, extraction=0.4, utility=0.9), result("d", 0, extraction=0.05, utility=0.5)
    early = result("e", 0, extraction=0.1, utility=0.95).model_copy(update={"ending": "pruned"})
    assert [r.setting.method for r in efficient([a, b, c, d, early], OTHERS)] == ["a", "c", "d"]


def test_csv_has_one_line_per_setting_and_the_page_needs_nothing_else(tmp_path: Path) -> None:
    board = board_of(tmp_path, result("npo", 0.2), result("wga", -0.1, value="<b>"))
    lines = list(csv.DictReader(io.StringIO(as_csv(board))))
    assert [line["method"] for line in lines] == ["npo", "wga"]
    assert {line["tightest_gate"] for line in lines} == {"probability"}
    png = pareto_png(board)
    assert png == pareto_png(board)
    assert png.startswith(b"\x89PNG")
    page = render_page(board, png)
    assert "<b>" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


@pytest.mark.parametrize(
    ("margins", "whole", "seen"), [([0.5, -1.0], -1.0, -1.0), ([0.5, None], None, 0.5), ([], None, None)]
)
def test_the_worst_margin_needs_every_gate_unless_it_is_a_look(
    margins: list[float | None], whole: float | None, seen: float | None
) -> None:
    gates = tuple(GateResult(gate="g", passed=False, value=0, bound="", reason="", margin=m) for m in margins)
    assert worst_margin(gates) == whole
    assert worst_margin(gates, measured_only=True) == seen

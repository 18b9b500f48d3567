"""The table of methods: every method once, whatever came of it, and the committed one is of the methods there are."""

import re

import pytest

from pipelines.methods import METHODS
from pipelines.provenance import ROOT
from pipelines.search.leaderboard import Leaderboard, Others, Standing
from pipelines.search.table import COLUMNS, methods_table
from pipelines.search.trial import Gap, Setting, TrialResult


def board(*results: TrialResult) -> Leaderboard:
    return Leaderboard(
        standings=tuple(
            Standing(result=r, seeds=1, seeds_passed=int(r.passed), worst=r.margin, efficient=False) for r in results
        ),
        winner=None,
        nearest=None,
        others=Others(start={"extraction": 0.99}, reference={}),
        spent=1.0,
        methods=tuple(METHODS),
        seeds=1,
        config_digest="0" * 64,
        policy_digest="1" * 64,
    )


def rows(table: str) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {cells[0].strip("`"): cells for cells in lines[2:]}


def test_every_method_has_a_line_whatever_came_of_it() -> None:
    done = TrialResult(
        setting=Setting(method="npo", values={"params.beta": 0.2}),
        seed=0,
        ending="complete",
        margin=0.125,
        passed=True,
        gaps=(Gap(gate="probability", margin=0.125, reason=""),),
        figures={"extraction": 0.25, "utility": 0.75},
        epochs=12,
        seconds=9.6,
    )
    said = TrialResult(setting=Setting(method="wga", values={}), seed=0, ending="refused", reason="no | base")
    found = rows(methods_table(board(done, said)))
    assert list(found) == ["start model", "reference", *METHODS]
    assert found["npo"][2:11] == ["yes", "0.125", "probability", "0.250", "", "", "0.750", "12", "10"]
    assert found["wga"][2] == "refused"
    assert "no / base" in found["wga"]
    assert found["simnpo"][2] == "not tried"


def test_all_lines_have_as_many_cells_as_the_head() -> None:
    for line in methods_table(board()).splitlines():
        assert not line.startswith("|") or len(re.findall(r"(?<!\\)\|", line)) == len(COLUMNS) + 1, line


def test_the_committed_table_is_of_the_methods_there_are() -> None:
    path = ROOT / "docs" / "methods.md"
    if not path.is_file():
        pytest.skip("docs/methods.md is not in this checkout; make methods writes it")
    assert set(rows(path.read_text())) == {"start model", "reference", *METHODS}, "run: make methods"

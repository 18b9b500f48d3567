"""MUSE's six views of real runs: requests of two sizes and one after the other, through the commands, then the picture.

The tiny model knows nothing, so no figure here says anything; that every view has its points, and whose, is tested.
"""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from flows.cli import run
from tests.flows.company import REQUEST, Company, write_rows
from tests.tiny import tiny_rows

pytestmark = pytest.mark.usefixtures("prefect_env")

SMALL, LARGE = "REQ-TEST-2", "REQ-TEST-3"
FIRST = 1000
"""Number of the first row that anybody asks for."""


def _erase(company: Company, name: str, *, first: int, rows: int) -> None:
    """Carry out a request for these rows of the training file."""
    asked = write_rows(company.root / f"{name}.jsonl", tiny_rows(rows, first=first))
    company.set_request(id=name, selector={"rows": str(asked)})
    assert run(company.arguments("--json")) == 0


def _views(company: Company, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["metrics", "muse", LARGE, "--home", str(company.home), "--json", *more]) == 0
    return {view["view"]: view for view in json.loads(capsys.readouterr().out)}


def _points(view: dict[str, Any]) -> dict[str, list[tuple[str, int]]]:
    return {name: [(at["request"], at["x"]) for at in points] for name, points in view["curves"].items()}


@pytest.mark.slow
def test_six_views_of_what_the_runs_left(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    """The first request has three rows; on its candidate follow, apart from one another, one of two and one of four.

    The numbers in these rows are longer than the holdout's, so that no model takes all of them for training rows: then
    PrivLeak has no room to be in.
    """
    write_rows(company.root / "train.jsonl", [*tiny_rows(8, first=FIRST), *tiny_rows(12, first=4)])
    company.set_config(
        attribution={"backends": ["bm25"]},
        evaluation={"bootstrap": 100, "max_new_tokens": 8},
        quality={"min_retain": 5},
        utility={},
    )
    _erase(company, REQUEST, first=FIRST, rows=3)
    company.set_config(model=str(company.home / "runs" / REQUEST / "unlearn" / "model"))
    _erase(company, SMALL, first=FIRST + 3, rows=2)
    _erase(company, LARGE, first=FIRST + 3, rows=4)
    picture = company.root / "muse.svg"
    views = _views(company, capsys, "--plot", str(picture))
    assert len(views) == 6
    assert not [view["missing"] for view in views.values() if view["missing"]]
    for name in ("verbatim_memorization", "knowledge_memorization", "privacy_leakage", "utility_preservation"):
        assert _points(views[name]) == {role: [(LARGE, 0)] for role in ("start", "candidate", "reference")}
    grown, chained = [(SMALL, 2), (LARGE, 4)], [(REQUEST, 1), (LARGE, 2)]
    assert _points(views["scalability"]) == {"retain": grown, "forget": grown, "earlier": grown}
    assert _points(views["sustainability"]) == {"retain": chained, "forget": chained, "earlier": chained[1:]}
    _check_numbers(company, views)
    _check_picture(picture, views)


def _check_numbers(company: Company, views: dict[str, Any]) -> None:
    """Every point is the measurement that the run left."""
    for name, split in (("retain", "retain"), ("forget", "forget"), ("earlier", "earlier_1")):
        for point in (*views["scalability"]["curves"][name], *views["sustainability"]["curves"][name]):
            path = company.home / "runs" / point["request"] / "evaluate-candidate" / "evaluation.json"
            left = [m for m in json.loads(path.read_text())["measurements"] if m["split"] == split]
            assert point["measurement"] in left
            assert point["measurement"]["metric"] == "knowledge_memorization"


def _check_picture(picture: Path, views: dict[str, Any]) -> None:
    text = "\n".join(ElementTree.parse(picture).getroot().itertext())  # noqa: S314 - our own file
    assert all(view["title"] in text for view in views.values())
    assert "not measured" not in text
    assert {"forget rows", "requests", "earlier"} <= set(text.split("\n"))

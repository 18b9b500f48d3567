"""The search as a flow, on the tiny company: a run makes the winner again, a refusal is said, a kill costs little."""

import json

import pytest

from flows.compare import compare
from flows.erase import RequestReference
from pipelines.config import load_config
from pipelines.search.settings import Budget, SearchSettings
from tasks.comparison import Compared
from tests.flows.company import REQUEST, Company

pytestmark = pytest.mark.usefixtures("prefect_says_nothing")

TWO = SearchSettings(methods=("npo", "grad_ascent"), budget=Budget(trials=4), seeds=2, finalists=1, runner="thread")


def _compare(company: Company, search: SearchSettings = TWO) -> Compared:
    reference = RequestReference(id=REQUEST, path=str(company.request))
    return compare(reference, load_config(company.config), search, str(company.policy), str(company.home))


def _log(company: Company) -> list[dict[str, object]]:
    return [json.loads(line)["entry"] for line in (company.home / "log" / "entries.jsonl").read_text().splitlines()]


def test_a_run_with_the_winner_makes_the_candidate_that_was_tried(quick: Company) -> None:
    found = _compare(quick)
    board = found.board
    print(board.model_dump_json(indent=1))
    assert board.winner is not None

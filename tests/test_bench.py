"""``make bench`` prints one JSON document, judges a figure by its limit, and refuses a name that it does not know."""

import json
from pathlib import Path

import pytest

import bench.__main__ as command
from bench import BENCHES
from bench.base import Bench, Figure
from pipelines.registry import Registry


def test_figure_is_within_its_limit_or_not() -> None:
    assert Figure("wait", 0.5, "s", limit=0.5).document()["within"] is True
    assert Figure("wait", 0.6, "s", limit=0.5).document()["within"] is False
    assert Figure("wait", 0.6, "s").document()["within"] is None


def test_one_document_on_stdout_and_an_empty_folder_to_work_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Path] = []

    def measure(folder: Path) -> list[Figure]:
        assert not list(folder.iterdir())
        seen.append(folder)
        return [Figure("rows", 3, "rows")]

    monkeypatch.setattr(command, "BENCHES", Registry("bench", Bench("count", measure)))
    assert command.main([]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["benches"][0]["figures"] == [
        {"name": "rows", "value": 3, "unit": "rows", "limit": None, "within": None}
    ]
    assert not seen[0].exists()


def test_unknown_bench_is_refused_with_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["nothing"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in BENCHES)

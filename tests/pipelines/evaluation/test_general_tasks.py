"""General tasks: a task file made here runs offline and becomes measurements; without the extra one line says so."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats

from pipelines.config import EvaluationSettings
from pipelines.errors import BadInput
from pipelines.evaluation.general_tasks import general_tasks, run_task, tasks_digest
from pipelines.models.loading import load_model
from tests.general import INSTALLED, ROWS, SAID, TASK, group_file, task_folder
from tests.tiny import save_tiny

needs_harness = pytest.mark.skipif(not INSTALLED, reason="the extra lm-eval is not installed")
SETTINGS = EvaluationSettings(batch_size=4)


@pytest.mark.skipif(INSTALLED, reason="the extra lm-eval is installed")
def test_without_the_extra_one_line_says_how_to_get_it() -> None:
    with pytest.raises(BadInput, match=r"harness is not installed; pip install 'lethe-unlearning\[lm-eval\]'"):
        general_tasks([TASK])


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder of task files"):
        general_tasks([TASK], folder=tmp_path / "none")


def test_a_folder_is_known_by_its_files_and_not_by_what_python_leaves_there(tmp_path: Path) -> None:
    folder = task_folder(tmp_path)
    before = tasks_digest(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "code.pyc").write_bytes(b"x")
    assert tasks_digest(folder) == before
    (folder / "towns.jsonl").write_text("")
    assert tasks_digest(folder) != before


@needs_harness
@pytest.mark.filterwarnings("default")  # the harness's own
def test_a_local_task_becomes_a_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The accuracy by hand: the answer of highest log-likelihood after the prompt, counted over the rows."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    loaded = load_model(save_tiny(tmp_path / "model"), device=torch.device("cpu"))
    folder = task_folder(tmp_path)
    tasks = general_tasks([TASK], folder=folder)
    found = run_task(loaded, tasks, TASK, settings=SETTINGS, chat=False, seed=0)
    [reading] = [one for one in found if one.measurement.metric == "lm_eval_acc"]
    measured = reading.measurement
    rows = [json.loads(line) for line in (folder / "towns.jsonl").read_text().splitlines()]
    right = [_slow_choice(loaded, row) == row["label"] for row in rows]
    assert reading.items == tuple(map(float, right))
    assert reading.higher_is_better is True
    assert measured.value == pytest.approx(sum(right) / ROWS)
    assert (measured.split, measured.n_scored, measured.n_expected) == (TASK, ROWS, ROWS)
    spread = stats.sem(reading.items)
    assert measured.high == pytest.approx(sum(right) / ROWS + stats.norm.ppf(0.975) * spread)
    shown = capfd.readouterr()
    assert SAID not in shown.out + shown.err + caplog.text, "whatever a task's code prints or logs goes nowhere"
    _check_versions(loaded, folder, measured.version)
    with pytest.raises(BadInput, match="nowhere_to_be_found: no such task"):
        general_tasks(["nowhere_to_be_found"], folder=folder)
    (folder / "towns.jsonl").unlink()
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "elsewhere"))
    with pytest.raises(BadInput, match=r"general task towns: .* in the harness"):
        run_task(loaded, tasks, TASK, settings=SETTINGS, chat=False, seed=0)


def _check_versions(loaded: Any, folder: Path, version: str) -> None:
    """The same rows under another name are no other version; a group is of its tasks' rows; another answer is."""
    text = (folder / "towns.yaml").read_text().replace(f'task: "{TASK}"', 'task: "cities"')
    (folder / "cities.yaml").write_text(text)
    group_file(folder, TASK, "cities")
    (folder / "more.jsonl").write_text((folder / "towns.jsonl").read_text().replace("Oslo", "Bergen"))
    (folder / "more.yaml").write_text(text.replace("cities", "more").replace("towns.jsonl", "more.jsonl"))
    tasks = general_tasks(["places", "more"], folder=folder)
    readings = [
        one
        for name in tasks.names
        for one in run_task(loaded, tasks, name, settings=SETTINGS, chat=False, seed=0)
        if one.measurement.metric == "lm_eval_acc"
    ]
    by_task = {one.measurement.split: one for one in readings}
    assert set(by_task) == {TASK, "cities", "places", "more"}
    assert by_task["places"].items == by_task[TASK].items * 2
    assert by_task["places"].higher_is_better is True
    assert by_task[TASK].measurement.version == by_task["cities"].measurement.version == version
    assert by_task["more"].measurement.version.split("+")[:2] == version.split("+")[:2]
    assert by_task["more"].measurement.version != version


def _slow_choice(loaded: Any, row: dict[str, Any]) -> int:
    scores = []
    for choice in row["choices"]:
        prompt = loaded.tokenizer(f"Question: {row['question']}\nAnswer:")["input_ids"]
        ids = [*prompt, *loaded.tokenizer(f" {choice}")["input_ids"]]
        with torch.no_grad():
            logprob = loaded.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        scores.append(sum(float(logprob[t - 1, ids[t]]) for t in range(len(prompt), len(ids))))
    return scores.index(max(scores))

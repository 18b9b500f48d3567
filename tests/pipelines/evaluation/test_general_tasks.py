"""General tasks: a task file made here runs offline and becomes measurements; without the extra one line says so."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats

from pipelines.errors import BadInput
from pipelines.evaluation.general_tasks import general_measurements, general_tasks
from pipelines.models.loading import load_model
from tests.tiny import save_tiny

INSTALLED = importlib.util.find_spec("lm_eval") is not None
ROWS = 12


def _folder(root: Path) -> Path:
    """A multiple-choice task of twelve rows, its data beside it."""
    folder = root / "tasks"
    folder.mkdir()
    rows = [{"question": f"Town {i}?", "choices": ["Oslo", "Rome", "Paris"], "label": i % 3} for i in range(ROWS)]
    (folder / "towns.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task: dict[str, Any] = {
        "task": "towns",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "towns.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 2.0},
    }
    (folder / "towns.yaml").write_text(json.dumps(task))  # JSON is YAML
    return folder


@pytest.mark.skipif(INSTALLED, reason="the extra lm-eval is installed")
def test_without_the_extra_one_line_says_how_to_get_it() -> None:
    with pytest.raises(BadInput, match=r"harness is not installed; pip install 'lethe-unlearning\[lm-eval\]'"):
        general_tasks(["towns"])


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder of task files"):
        general_tasks(["towns"], folder=tmp_path / "none")


@pytest.mark.skipif(not INSTALLED, reason="the extra lm-eval is not installed")
@pytest.mark.filterwarnings("default")  # the harness's own
def test_a_local_task_becomes_a_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The accuracy by hand: the answer of highest log-likelihood after the prompt, counted over the rows."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    loaded = load_model(save_tiny(tmp_path / "model"), device=torch.device("cpu"))
    folder = _folder(tmp_path)
    tasks = general_tasks(["towns"], folder=folder)
    found = general_measurements(loaded, tasks, batch_size=4, chat=False, confidence=0.95, seed=0)
    [measured] = [one for one in found if one.metric == "lm_eval_acc"]
    rows = [json.loads(line) for line in (folder / "towns.jsonl").read_text().splitlines()]
    right = [_slow_choice(loaded, row) == row["label"] for row in rows]
    assert measured.value == pytest.approx(sum(right) / ROWS)
    assert (measured.split, measured.n_scored, measured.n_expected) == ("towns", ROWS, ROWS)
    assert measured.version.endswith("+2.0")
    spread = stats.sem([float(one) for one in right])
    assert measured.high == pytest.approx(sum(right) / ROWS + stats.norm.ppf(0.975) * spread)
    with pytest.raises(BadInput, match="nowhere_to_be_found: no such task"):
        general_tasks(["nowhere_to_be_found"], folder=folder)
    (folder / "towns.jsonl").unlink()
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "elsewhere"))
    with pytest.raises(BadInput, match=r"--lm-eval towns: .* in the harness"):
        general_measurements(loaded, tasks, batch_size=4, chat=False, confidence=0.95, seed=0)


def _slow_choice(loaded: Any, row: dict[str, Any]) -> int:
    scores = []
    for choice in row["choices"]:
        prompt = loaded.tokenizer(f"Question: {row['question']}\nAnswer:")["input_ids"]
        ids = [*prompt, *loaded.tokenizer(f" {choice}")["input_ids"]]
        with torch.no_grad():
            logprob = loaded.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        scores.append(sum(float(logprob[t - 1, ids[t]]) for t in range(len(prompt), len(ids))))
    return scores.index(max(scores))

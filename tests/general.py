"""A general task made here, for lm-evaluation-harness where it is installed: twelve rows of multiple choice."""

import importlib.util
import json
from pathlib import Path
from typing import Any

INSTALLED = importlib.util.find_spec("lm_eval") is not None
TASK = "towns"
ROWS = 12
SAID = "Zanquifor"
"""What the task's own code prints; nobody should read it."""


def task_folder(root: Path) -> Path:
    """The task, its data and its code; the data is named relative to the folder."""
    folder = root / "tasks"
    folder.mkdir()
    rows = [{"question": f"Town {i}?", "choices": ["Oslo", "Rome", "Paris"], "label": i % 3} for i in range(ROWS)]
    (folder / "towns.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "code.py").write_text(
        "import logging, subprocess, sys\n"
        "def told(dataset):\n"
        f"    print('{SAID}'); print('{SAID}', file=sys.stderr); logging.getLogger('lm_eval').error('{SAID}')\n"
        f"    subprocess.run(['sh', '-c', 'echo {SAID}; echo {SAID} >&2'])\n"
        "    return dataset\n"
    )
    task: dict[str, Any] = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "towns.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 2.0},
    }
    lines = [f"{name}: {json.dumps(value)}" for name, value in task.items()]  # JSON is YAML
    (folder / "towns.yaml").write_text("\n".join([*lines, "process_docs: !function code.told", ""]))
    return folder


def group_file(folder: Path, *parts: str) -> None:
    """A group of tasks that averages their accuracy over all rows."""
    group = {"group": "places", "task": list(parts), "aggregate_metric_list": [{"metric": "acc"}]}
    (folder / "places.yaml").write_text(json.dumps(group))

"""General capability before and after: tasks of EleutherAI's lm-evaluation-harness, run on a model in memory.

An optional extra. Prompts, answers and scores are the harness's own; what is kept are its numbers, as measurements
whose split is the task, with a normal interval from its standard error. A task is found by name among the harness's
own, which fetch their data from a hub, or in a folder of task files; such a file may name Python code of that folder,
and the harness runs it.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from scipy import stats

from pipelines.audit.canonical import digest
from pipelines.errors import BadInput
from pipelines.models.loading import LoadedModel, quietly
from pipelines.records import Measurement

EXTRA = "pip install 'lethe-unlearning[lm-eval]'"
STDERR = "_stderr"
BOOTSTRAP = 1000
"""Resamples for the standard error of metrics that have no formula."""
_TASK_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError)
"""What the harness and its data loader raise on a task that cannot be run."""


@dataclass(frozen=True, slots=True)
class GeneralTasks:
    """Tasks that the harness knows, and the parts of it that run them; from :func:`general_tasks`.

    Attributes:
        names: of tasks or groups of tasks.
        manager: the harness's, which finds them.
        evaluate: the harness's entry.
        adapter: the harness's class for a model in memory.
    """

    names: tuple[str, ...]
    manager: Any
    evaluate: Any
    adapter: Any


def general_tasks(names: Sequence[str], *, folder: Path | None = None) -> GeneralTasks:
    """Find the tasks, before any model is loaded.

    Args:
        names: of tasks or groups of tasks.
        folder: of further task files, or None.

    Raises:
        BadInput: the harness is not installed, there is no such folder, or no task of that name.
    """
    if folder is not None and not folder.is_dir():
        raise BadInput(f"--lm-eval-tasks {folder}: no such folder of task files")
    try:
        # by name: an extra that only some users install
        harness, adapters, tasks = map(import_module, ("lm_eval", "lm_eval.models.huggingface", "lm_eval.tasks"))
    except ImportError:
        problem = f"--lm-eval: the harness is not installed; {EXTRA}"
    else:
        manager = _manager(tasks, names, folder=folder)
        return GeneralTasks(tuple(names), manager, evaluate=harness.simple_evaluate, adapter=adapters.HFLM)
    raise BadInput(problem)


def _manager(tasks: Any, names: Sequence[str], *, folder: Path | None) -> Any:
    """One that knows the tasks: of the folder alone where that is enough, because the harness's own are many."""
    for more in (False, True):
        manager = tasks.TaskManager(include_path=str(folder) if folder else None, include_defaults=more)
        if all(name in manager.task_index for name in names):
            return manager
    raise BadInput(f"--lm-eval {','.join(names)}: no such task; 'lm-eval ls tasks' names the harness's own")


def general_measurements(
    loaded: LoadedModel, tasks: GeneralTasks, *, batch_size: int, chat: bool, confidence: float, seed: int
) -> tuple[Measurement, ...]:
    """Every number that the harness gives for the tasks.

    Args:
        loaded: the model.
        tasks: which ones.
        batch_size: requests per forward pass.
        chat: put prompts through the tokenizer's chat template.
        confidence: coverage of the intervals.
        seed: of the harness's choices (few-shot examples).

    Raises:
        BadInput: a task cannot be run, for example because its data is not here.
    """
    try:
        with quietly(), redirect_stdout(sys.stderr):
            adapter = tasks.adapter(
                pretrained=loaded.model, tokenizer=loaded.tokenizer, backend="causal", batch_size=batch_size
            )
            found = tasks.evaluate(
                adapter,
                tasks=list(tasks.names),
                task_manager=tasks.manager,
                apply_chat_template=chat,
                bootstrap_iters=BOOTSTRAP,
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
            )
    except _TASK_ERRORS as error:
        problem = f"--lm-eval {','.join(tasks.names)}: {type(error).__name__} in the harness; see 'lm-eval validate'"
    else:
        return _measurements(found, z=float(stats.norm.ppf((1 + confidence) / 2)))
    raise BadInput(problem)


def _measurements(found: Mapping[str, Any], *, z: float) -> tuple[Measurement, ...]:
    """One per task, metric and filter, in the harness's order."""
    return tuple(
        _measurement(found, task, key, z=z)
        for task, row in found["results"].items()
        for key, value in row.items()
        if "," in key and f"{STDERR}," not in key and isinstance(value, int | float)
    )


def _measurement(found: Mapping[str, Any], task: str, key: str, *, z: float) -> Measurement:
    row = found["results"][task]
    metric, _, chosen = key.partition(",")
    value, spread = float(row[key]), row.get(f"{metric}{STDERR},{chosen}")
    half = z * spread if isinstance(spread, int | float) and math.isfinite(spread) else None
    items = _items(found.get("samples", {}).get(task, ()), metric, chosen)
    finite = math.isfinite(value)
    return Measurement(
        metric=f"lm_eval_{metric}" if chosen == "none" else f"lm_eval_{metric}:{chosen}",
        version=f"{found['lm_eval_version']}+{found['versions'].get(task, 'none')}",
        split=task,
        value=value if finite else None,
        low=value - half if finite and half is not None else None,
        high=value + half if finite and half is not None else None,
        n_scored=row.get("sample_len", len(items)) if finite else 0,
        n_expected=row.get("sample_len", len(items)),
        items_digest=digest(items),
    )


def _items(samples: Sequence[Mapping[str, Any]], metric: str, chosen: str) -> list[float | None]:
    """The task's value per row; empty for a group, and where a row has something else than a number."""
    values = [sample[metric] for sample in samples if sample["filter"] == chosen and metric in sample]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return [value if math.isfinite(value) else None for value in numbers] if len(numbers) == len(values) else []

"""General capability before and after: tasks of EleutherAI's lm-evaluation-harness, run on a model in memory.

An optional extra. Prompts, answers and scores are the harness's own; what is kept are its numbers, as measurements
whose split is the task, with a normal interval from its standard error. A task is found by name among the harness's
own, which fetch their data from a hub, or in a folder of task files; such a file may name Python code of that folder,
and the harness runs it. Nothing that the harness or a task prints or logs goes anywhere: it may quote what a model
answered.
"""

import logging
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from scipy import stats

from pipelines.audit.canonical import digest
from pipelines.audit.manifest import folder_manifest
from pipelines.errors import BadInput
from pipelines.evaluation.general_readings import GeneralReading
from pipelines.gates.general_tasks import MEASURED
from pipelines.models.loading import LoadedModel, quietly
from pipelines.records import Measurement
from pipelines.settings import EvaluationSettings

EXTRA = "pip install 'lethe-unlearning[lm-eval]'"
STDERR = "_stderr"
BOOTSTRAP = 1000
"""Resamples for the standard error of metrics that have no formula."""
CACHES = "__pycache__"
_TASK_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError)
"""What the harness and its data loader raise on a task that cannot be run."""


@dataclass(frozen=True, slots=True)
class GeneralTasks:
    """Tasks that the harness knows, and the parts of it that run them; from :func:`general_tasks`.

    Attributes:
        names: of tasks or groups of tasks.
        folder: of further task files, or None.
        manager: the harness's, which finds them.
        evaluate: the harness's entry.
        adapter: the harness's class for a model in memory.
    """

    names: tuple[str, ...]
    folder: Path | None
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
        raise BadInput(f"general tasks: {folder}: no such folder of task files")
    try:
        # by name: an extra that only some users install
        harness, adapters, tasks = map(import_module, ("lm_eval", "lm_eval.models.huggingface", "lm_eval.tasks"))
    except ImportError:
        problem = f"general tasks {','.join(names)}: the harness is not installed; {EXTRA}"
    else:
        at = folder.absolute() if folder else None
        with _silent(at):
            manager = _manager(tasks, names, folder=at)
        return GeneralTasks(tuple(names), at, manager, evaluate=harness.simple_evaluate, adapter=adapters.HFLM)
    raise BadInput(problem)


def tasks_digest(folder: Path) -> str:
    """The digest of a folder of task files; what Python writes beside code that it ran does not count.

    Raises:
        BadInput: as :func:`pipelines.audit.manifest.folder_manifest`.
    """
    files = folder_manifest(folder)
    return digest({name: found for name, found in files.items() if CACHES not in Path(name).parts})


def _manager(tasks: Any, names: Sequence[str], *, folder: Path | None) -> Any:
    """One that knows the tasks: of the folder alone where that is enough, because the harness's own are many."""
    for more in (False, True):
        manager = tasks.TaskManager(include_path=str(folder) if folder else None, include_defaults=more)
        if all(name in manager.task_index for name in names):
            return manager
    raise BadInput(f"general tasks {','.join(names)}: no such task; 'lm-eval ls tasks' names the harness's own")


def run_task(
    loaded: LoadedModel, tasks: GeneralTasks, name: str, *, settings: EvaluationSettings, chat: bool, seed: int
) -> tuple[GeneralReading, ...]:
    """Every number that the harness gives for a task, or for a group and the tasks in it.

    Args:
        loaded: the model.
        tasks: that were found.
        name: of one of them.
        settings: requests per forward pass, and coverage of the intervals.
        chat: put prompts through the tokenizer's chat template.
        seed: of the harness's choices (few-shot examples).

    Raises:
        BadInput: the task cannot be run, for example because its data is not here; or the model answers behind a
            context, which the harness would leave out.
    """
    if loaded.context is not None:
        raise BadInput("general tasks: this model answers behind a context, and the harness would ask it without")
    try:
        with quietly(), _silent(tasks.folder):
            adapter = tasks.adapter(
                pretrained=loaded.model, tokenizer=loaded.tokenizer, backend="causal", batch_size=settings.batch_size
            )
            found = tasks.evaluate(
                adapter,
                tasks=[name],
                task_manager=tasks.manager,
                apply_chat_template=chat,
                bootstrap_iters=BOOTSTRAP,
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
            )
    except _TASK_ERRORS as error:
        problem = f"general task {name}: {type(error).__name__} in the harness; see 'lm-eval validate'"
    else:
        return _readings(found, z=float(stats.norm.ppf((1 + settings.confidence) / 2)))
    raise BadInput(problem)


@contextmanager
def _silent(folder: Path | None) -> Iterator[None]:
    """Run the harness with a folder's files in reach by their relative paths, and without a word."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    with ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(nowhere))
        stack.enter_context(redirect_stderr(nowhere))
        for descriptor in (1, 2):  # what a process writes that the harness starts
            stack.enter_context(_redirected(descriptor, nowhere.fileno()))
        if folder is not None:
            stack.enter_context(chdir(folder))
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


@contextmanager
def _redirected(descriptor: int, to: int) -> Iterator[None]:
    kept = os.dup(descriptor)
    os.dup2(to, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def _readings(found: Mapping[str, Any], *, z: float) -> tuple[GeneralReading, ...]:
    """One per task, metric and filter, in the harness's order."""
    return tuple(
        _reading(found, task, key, z=z)
        for task, row in found["results"].items()
        for key, value in row.items()
        if "," in key and f"{STDERR}," not in key and isinstance(value, int | float)
    )


def _reading(found: Mapping[str, Any], task: str, key: str, *, z: float) -> GeneralReading:
    row = found["results"][task]
    metric, _, chosen = key.partition(",")
    value, spread = float(row[key]), row.get(f"{metric}{STDERR},{chosen}")
    half = z * spread if isinstance(spread, int | float) and math.isfinite(spread) else None
    samples = [one for one in _samples(found, task) if one["filter"] == chosen]
    items = _items(samples, metric, value)
    finite = math.isfinite(value)
    measurement = Measurement(
        metric=f"{MEASURED}{metric}" if chosen == "none" else f"{MEASURED}{metric}:{chosen}",
        version=f"{found['lm_eval_version']}+{found['versions'].get(task, 'none')}+{_asked(samples)}",
        split=re.sub(r"[^\w.: -]", "_", task),
        value=value if finite else None,
        low=value - half if finite and half is not None else None,
        high=value + half if finite and half is not None else None,
        n_scored=row.get("sample_len", len(samples)) if finite else 0,
        n_expected=row.get("sample_len", len(samples)),
        items_digest=digest(list(items)),
    )
    better = found["higher_is_better"].get(task, {}).get(metric)
    return GeneralReading(measurement=measurement, higher_is_better=better, items=items)


def _samples(found: Mapping[str, Any], task: str) -> list[Mapping[str, Any]]:
    """The rows of a task; of a group, those of the tasks in it."""
    parts = found.get("group_subtasks", {}).get(task) or ()
    return [*found.get("samples", {}).get(task, ()), *(one for part in parts for one in _samples(found, part))]


def _items(samples: Sequence[Mapping[str, Any]], metric: str, value: float) -> tuple[float, ...]:
    """The task's value per row; nothing where a row has something else than a number or the number is not the mean."""
    values = [sample.get(metric) for sample in samples]
    numbers = [float(one) for one in values if isinstance(one, int | float) and math.isfinite(one)]
    whole = bool(numbers) and len(numbers) == len(values)
    return tuple(numbers) if whole and math.isclose(math.fsum(numbers) / len(numbers), value, abs_tol=1e-9) else ()


def _asked(samples: Sequence[Mapping[str, Any]]) -> str:
    """What rows, prompts and right answers there were, in a few letters: other ones are another version."""
    return digest([[one[f"{part}_hash"] for part in ("doc", "prompt", "target")] for one in samples])[:12]

"""What measuring costs: TOFU's suite against the same metrics one by one, and how time and memory grow.

Both sides measure the demo world's reference and start model on the same rows and must agree; the ratio of their times
is the figure, of processor time on one thread because a loaded machine changes that least. Memory is what a process of
its own needed at most beyond the loaded model.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.base import Bench, Figure

if TYPE_CHECKING:
    from bench.one_by_one import Suite
    from pipelines.data.rows import Rows
    from pipelines.models.loading import LoadedModel
    from pipelines.records import Evaluation
    from pipelines.scoring.questions import Asked
    from pipelines.scoring.table import ModelScores
    from pipelines.world import World

T = TypeVar("T")

SETS = ("forget", "retain", "holdout", "real_authors", "world_facts")
RELATIVE = ("forget_quality", "privleak", "membership_reference")
"""Metrics that say nothing of the reference itself."""

LISTED = frozenset(
    [(metric, split) for split in ("forget", "retain") for metric in ("probability", "rouge", "truth_ratio")]
    + [(metric, split) for split in SETS[3:] for metric in ("option_probability", "rouge", "truth_ratio")]
    + [("model_utility", "utility")]
    + [
        (metric, "forget")
        for metric in (
            "forget_quality",
            "extraction_strength",
            "exact_memorization",
            "privleak",
            "min_k",
            "min_k_plus_plus",
        )
    ]
    + [("membership_" + name, "forget") for name in ("loss", "zlib", "reference")]
)
"""Metrics and splits that open-unlearning's configuration of TOFU lists, those included that it leaves to be switched
on; the others are the same metrics on the other splits, and paraphrased questions."""

AGREE = 1e-6
BATCH_SIZE, NEW_TOKENS = 32, 64
ROUNDS = 3
ROWS = (400, 1600, 6400)
VOCABULARIES = (2_000, 32_000, 128_000)


def measure(folder: Path) -> Sequence[Figure]:
    """Ratio of times, largest difference, seconds per 400 rows at three sizes, and memory by vocabulary and metrics."""
    import torch

    from pipelines.world import WorldSpec, build_world

    world = build_world(folder / "world", spec=WorldSpec(seed=0))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    timed = [*_against(world), *_growth(world.start, world.data)]
    torch.set_num_threads(threads)
    return [*timed, *_memory()]


def _load(path: Path) -> "LoadedModel":
    import torch

    from pipelines.models.loading import load_model

    return load_model(path, device=torch.device("cpu"))


@dataclass(frozen=True, slots=True)
class Spent:
    """Wall and processor time in seconds."""

    wall: float
    processor: float


def _spent(work: Callable[[], T]) -> tuple[T, Spent]:
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, Spent(time.perf_counter() - wall, time.process_time() - processor)


@dataclass(frozen=True, slots=True)
class Sides:
    """One model measured by both sides.

    Attributes:
        scores: ours.
        suite: theirs.
        ours: what scoring, generation and every metric took.
        theirs: what the same metrics took.
        listed: processor time of those of theirs that open-unlearning's configuration of TOFU lists.
        apart: largest difference of a value.
    """

    scores: "ModelScores"
    suite: "Suite"
    ours: Spent
    theirs: Spent
    listed: float
    apart: float


@dataclass(frozen=True, slots=True)
class Round:
    """Both models measured by both sides: seconds of processor and wall time, as in :class:`Sides`."""

    ours: Spent
    theirs: Spent
    listed: float
    apart: float


def _against(world: "World") -> list[Figure]:
    """The best of a few rounds on each side: what else goes on in the machine only ever adds time."""
    from pipelines.data.load import load_rows

    splits = {name: load_rows(str(world.data / f"{name}.jsonl"), name=name) for name in SETS}
    _round(world, {name: rows[:2] for name, rows in splits.items()})  # what is made once is made
    rounds = [_round(world, splits) for _ in range(ROUNDS)]
    ours, theirs, listed = (
        min(one.ours.processor for one in rounds),
        min(one.theirs.processor for one in rounds),
        min(one.listed for one in rounds),
    )
    wall = min(one.ours.wall for one in rounds) / min(one.theirs.wall for one in rounds)
    apart = max(one.apart for one in rounds)
    return [
        Figure("metrics one by one", round(theirs, 2), "s of processor time"),
        Figure("the same in one pass", round(ours, 2), "s of processor time"),
        Figure("one pass against one by one", round(ours / theirs, 3), "of the time", limit=0.25),
        Figure("the same by wall clock", round(wall, 3), "of the time"),
        Figure(
            "all in one pass against those alone that open-unlearning lists", round(ours / listed, 3), "of the time"
        ),
        Figure("largest difference of a value", float(f"{apart:.1e}"), "", limit=AGREE),
    ]


def _round(world: "World", splits: "dict[str, Rows]") -> Round:
    """The reference model and then the start model, by both sides, with nothing left of an earlier round."""
    from pipelines.config import PromptFormat
    from pipelines.scoring.questions import Asked

    asked = Asked(splits, PromptFormat())
    reference = _both(world.reference, asked, None)
    both = (reference, _both(world.start, asked, reference))
    ours, theirs = (
        Spent(sum(spent.wall for spent in side), sum(spent.processor for spent in side))
        for side in ([one.ours for one in both], [one.theirs for one in both])
    )
    return Round(ours, theirs, listed=sum(one.listed for one in both), apart=max(one.apart for one in both))


def _both(path: Path, asked: "Asked", reference: Sides | None) -> Sides:
    from bench.one_by_one import METRICS, Plain, Suite
    from pipelines.config import EvaluationSettings
    from pipelines.evaluation.evaluate import measure as measured
    from pipelines.evaluation.evaluate import score_model

    loaded = _load(path)
    settings = EvaluationSettings(
        batch_size=BATCH_SIZE, max_new_tokens=NEW_TOKENS, metrics=tuple(METRICS), bootstrap=100
    )

    def in_one_pass() -> "tuple[ModelScores, Evaluation]":
        scores = score_model(loaded, asked, settings=settings)
        other = reference.scores if reference else None
        return scores, measured(scores, role="start", reference=other, settings=settings, seed=0)

    (scores, found), ours = _spent(in_one_pass)
    plain = Plain(loaded.model, loaded.tokenizer, asked.prompt_format, BATCH_SIZE, NEW_TOKENS)
    suite = Suite(plain, dict(asked.splits), reference=reference.suite if reference else None)
    values = {(one.metric, one.split): one.value for one in found.measurements}
    wanted = [pair for pair in values if reference or pair[0] not in RELATIVE]
    their_values, theirs = _spent(lambda: {pair: suite.value(*pair) for pair in wanted})
    apart = [
        float("inf") if (ours_is := values[pair]) is None else abs(value - ours_is)
        for pair, value in their_values.items()
    ]
    listed = sum(spent for pair, spent in suite.seconds.items() if pair in LISTED)
    return Sides(scores, suite, ours=ours, theirs=theirs, listed=listed, apart=max(apart))


def _growth(start: Path, data: Path) -> list[Figure]:
    """The scoring pass alone: what generation costs depends on what a model says."""
    from dataclasses import replace

    from pipelines.config import PromptFormat
    from pipelines.data.load import load_rows
    from pipelines.data.rows import Rows
    from pipelines.models.loading import context_length
    from pipelines.scoring.answers import score_questions
    from pipelines.scoring.questions import questions

    loaded = _load(start)
    context = context_length(loaded.model)
    train = list(load_rows(str(data / "train.jsonl"), name="train"))
    figures, first = [], 0.0
    for count in ROWS:
        # numbered, because equal rows are scored once
        rows = [replace(train[i % len(train)], question=f"{i} {train[i % len(train)].question}") for i in range(count)]
        splits = {"retain": Rows.of(rows)}
        asked = questions(loaded.tokenizer, splits, prompt_format=PromptFormat(), max_length=context)
        score = partial(score_questions, loaded.model, asked, pad_id=loaded.pad_id, batch_size=BATCH_SIZE)
        _, spent = _spent(score)
        per_400 = spent.processor * ROWS[0] / count
        first = first or per_400
        unit = "s of processor time"
        figures.append(Figure(f"scoring {count} rows, per 400", round(per_400, 2), unit, limit=round(1.5 * first, 2)))
    return figures


def _memory() -> list[Figure]:
    """MiB beyond the loaded model, each in a process of its own: by vocabulary, then by number of metrics."""
    by_size = {size: _child("vocabulary", size) for size in VOCABULARIES}
    figures = [Figure(f"memory of scoring, vocabulary {size}", mib, "MiB") for size, mib in by_size.items()]
    growth = by_size[VOCABULARIES[-1]] / by_size[VOCABULARIES[0]]
    figures.append(Figure(f"memory, vocabulary x{VOCABULARIES[-1] // VOCABULARIES[0]}", round(growth, 2), "x", limit=2))
    one, every = _child("metrics", 1), _child("metrics", 0)
    figures += [Figure("memory of one metric", one, "MiB"), Figure("memory of every metric", every, "MiB")]
    return figures


def _child(what: str, size: int) -> float:
    command = [sys.executable, "-m", "bench.memory", what, str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["mib"])


BENCH = Bench(name="evaluation", measure=measure)

"""What general tasks said of one model, and what a model lost against an earlier one: numbers, by task and row.

Needs no harness: :mod:`pipelines.evaluation.general_tasks` runs it.

Shapes: N rows of one task.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from pipelines.audit.canonical import digest
from pipelines.config import Policy, validated
from pipelines.evaluation.statistics import Bootstrap
from pipelines.gates.general_tasks import GATE, LOST, GeneralMarks
from pipelines.records import Measurement, Record
from pipelines.scoring.table import Floats


class GeneralReading(Record):
    """One number of a task, and the rows that it is of.

    Attributes:
        measurement: the number.
        higher_is_better: as the task says; None where it does not.
        items: the task's value of every row; empty where the number is not their mean.
    """

    measurement: Measurement
    higher_is_better: bool | None
    items: tuple[float, ...]


def wanted_tasks(named: Sequence[str], policy: Policy | None) -> tuple[str, ...]:
    """The tasks to run: those named, and those that the policy's gate reads.

    Raises:
        BadInput: the gate's marks cannot be used.
    """
    marks = policy.gates.get(GATE.name) if policy else None
    read = validated(GeneralMarks, marks, where=f"gate {GATE.name}").names if marks else ()
    return tuple(dict.fromkeys((*named, *read)))


def once(readings: Iterable[GeneralReading]) -> tuple[GeneralReading, ...]:
    """Each number once: a group holds tasks that may have been named beside it."""
    return tuple({(one.measurement.metric, one.measurement.split): one for one in readings}.values())


def lost(
    ours: Sequence[GeneralReading], before: Sequence[GeneralReading], *, bootstrap: Bootstrap
) -> tuple[Measurement, ...]:
    """What a model lost against an earlier one: the mean over rows of how much worse it does, paired row by row.

    Above 0 it does worse, whichever way the task counts. Only where both were asked the same of the same rows, and
    where the task's number is a mean over rows.

    Args:
        ours: of the model.
        before: of the earlier one.
        bootstrap: resamples rows; metrics of one task together.
    """
    known = {(one.measurement.metric, one.measurement.split): one for one in before}
    pairs = ((one, known.get((one.measurement.metric, one.measurement.split))) for one in ours)
    return tuple(_lost(now, then, bootstrap) for now, then in pairs if then is not None and _comparable(now, then))


def _comparable(now: GeneralReading, then: GeneralReading) -> bool:
    same = now.measurement.version == then.measurement.version and len(now.items) == len(then.items)
    return same and bool(now.items) and now.higher_is_better is not None


def _lost(now: GeneralReading, then: GeneralReading, bootstrap: Bootstrap) -> Measurement:
    sign = 1.0 if now.higher_is_better else -1.0
    worse_N: Floats = sign * (np.array(then.items) - np.array(now.items))
    interval = bootstrap.interval(bootstrap.means(f"general {now.measurement.split}", worse_N))
    return now.measurement.model_copy(
        update={
            "metric": f"{now.measurement.metric}{LOST}",
            "value": float(worse_N.mean()),
            "low": interval.low,
            "high": interval.high,
            "items_digest": digest(worse_N.tolist()),
        }
    )

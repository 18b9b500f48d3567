"""One evaluation out of several that differ in their seed alone: resamples, sampled answers, what a probe draws.

Promises: the value is the mean over seeds, the interval holds every seed's interval, so whoever reads its pessimistic
end reads the most pessimistic seed; a row that is missing under one seed is missing. The spread between training runs
is another matter: that takes several models.
"""

import math
from collections.abc import Sequence

from pipelines.audit.canonical import digest
from pipelines.records import Evaluation, Measurement


def seed_list(first: int, count: int) -> tuple[int, ...]:
    """The seeds of an evaluation: the first and those after it."""
    return tuple(range(first, first + count))


def over_seeds(evaluations: Sequence[Evaluation]) -> Evaluation:
    """What several seeds say of one model together; a single one as it is.

    Args:
        evaluations: of the same model by the same settings, at least one.
    """
    if len(evaluations) == 1:
        return evaluations[0]
    columns = zip(*(evaluation.measurements for evaluation in evaluations), strict=True)
    return evaluations[0].model_copy(update={"measurements": tuple(_together(column) for column in columns)})


def _together(found: Sequence[Measurement]) -> Measurement:
    values, lows, highs = ([getattr(one, name) for one in found] for name in ("value", "low", "high"))
    whole = None not in (*values, *lows, *highs)
    return found[0].model_copy(
        update={
            "version": f"{found[0].version}+{len(found)}-seeds",
            "value": math.fsum(values) / len(values) if whole else None,
            "low": min(lows) if whole else None,
            "high": max(highs) if whole else None,
            "n_scored": min(one.n_scored for one in found) if whole else 0,
            "n_expected": max(one.n_expected for one in found),
            "items_digest": digest([one.items_digest for one in found]),
        }
    )

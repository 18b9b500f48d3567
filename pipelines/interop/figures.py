"""What follows from an imported log: every figure that its per-row numbers give, beside what the file says of itself.

Same definitions as the metrics (TOFU, arXiv 2401.06121, sections 2.2.1 to 2.2.3; PrivLeak, arXiv 2407.06460). A figure
with rows missing has no value of ours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipelines.evaluation.statistics import harmonic_mean, ks_p_value
from pipelines.interop.imported import ImportedLog
from pipelines.metrics.privleak import privleak
from pipelines.scoring.row_values import truth_ratio_of
from pipelines.scoring.table import FORGET, RETAIN, Floats

UTILITY = "utility"
PARTS = ("probability", "rouge", "truth_ratio")
SETS = (RETAIN, "real_authors", "world_facts")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        metric: our name of it.
        split: what it was taken on.
        value: as computed here; None where the file has no rows for it, or rows are missing.
        reported: as the file states it, or None.
        n_rows: rows behind the value.
    """

    metric: str
    split: str
    value: float | None
    reported: float | None
    n_rows: int


def figures(log: ImportedLog, *, reference: ImportedLog | None = None) -> tuple[Figure, ...]:
    """Everything that follows from a log, and from the reference's log where there is one.

    Args:
        log: of the model in question.
        reference: of a model retrained without the forget rows; forget quality and PrivLeak need it.
    """
    found = list(_per_split(log))
    means = {(one.metric, one.split): one.value if one.value is not None else one.reported for one in found}
    found.append(_utility(log, means))
    if reference is not None:
        found += _against(log, reference)
    known = {(one.metric, one.split) for one in found}
    found += [_only_reported(log, place) for place in log.reported if place not in known]
    return tuple(one for one in found if one.value is not None or one.reported is not None or one.n_rows)


def _per_split(log: ImportedLog) -> Iterator[Figure]:
    tables: Mapping[str, Mapping[str, Floats]] = {
        "probability": log.probability,
        "rouge": log.rouge,
        "truth_ratio": {split: truth_ratio_of(log_R, split) for split, log_R in log.log_truth_ratio.items()},
    }
    for metric, table in tables.items():
        for split in (FORGET, *SETS):
            value_R = table.get(split, np.empty(0))
            whole = len(value_R) > 0 and bool(np.isfinite(value_R.mean()))
            yield Figure(
                metric=metric,
                split=split,
                value=float(value_R.mean()) if whole else None,
                reported=log.reported.get((metric, split)),
                n_rows=len(value_R),
            )


def _utility(log: ImportedLog, means: Mapping[tuple[str, str], float | None]) -> Figure:
    parts = [means.get((metric, split)) for split in SETS for metric in PARTS]
    present = [np.array(part) for part in parts if part is not None]
    value = float(harmonic_mean(present)) if len(present) == len(parts) else None
    return Figure(
        metric="model_utility",
        split=UTILITY,
        value=value,
        reported=log.reported.get(("model_utility", UTILITY)),
        n_rows=sum(len(log.probability.get(split, ())) for split in SETS),
    )


def _against(log: ImportedLog, reference: ImportedLog) -> Iterator[Figure]:
    ours_N, theirs_M = (one.log_truth_ratio.get(FORGET, np.empty(0)) for one in (log, reference))
    both = len(ours_N) > 0 and len(theirs_M) > 0 and bool(np.isfinite(ours_N).all() and np.isfinite(theirs_M).all())
    n_rows = min(len(ours_N), len(theirs_M))
    p_value = ks_p_value(ours_N, theirs_M) if both else None
    distance = float(stats.ks_2samp(ours_N, theirs_M).statistic) if both else None
    reported = log.reported.get(("forget_quality", FORGET))
    yield Figure(metric="forget_quality", split=FORGET, value=p_value, reported=reported, n_rows=n_rows)
    yield Figure(metric="ks_statistic", split=FORGET, value=distance, reported=None, n_rows=n_rows)
    place = ("min_k", FORGET)
    leak = None
    if place in log.reported and place in reference.reported:
        value = float(privleak(np.array(log.reported[place]), np.array(reference.reported[place])))
        leak = value if np.isfinite(value) else None
    yield Figure(metric="privleak", split=FORGET, value=leak, reported=log.reported.get(("privleak", FORGET)), n_rows=0)


def _only_reported(log: ImportedLog, place: tuple[str, str]) -> Figure:
    metric, split = place
    return Figure(metric=metric, split=split, value=None, reported=log.reported[place], n_rows=0)

"""MUSE's six views of one request (arXiv 2407.06460, section 3), out of evaluations that are stored already.

Four views are numbers of the request's own models. Scalability follows forgetting and utility over runs of the same
method on the same start model as the forget set grows; sustainability follows them over the requests that led to this
candidate, one after the other. Promises: runs nothing, compares nothing that another version measured, and a view that
cannot be had says why. Each run is measured on its own rows: a curve over runs shows a trend, not a paired difference.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.records import Evaluation, Measurement, RequestId, Role
from pipelines.scoring.table import EARLIER, FORGET, RETAIN

VERBATIM, KNOWLEDGE, PRIVACY = "verbatim_memorization", "knowledge_memorization", "privleak"
ROLES: tuple[Role, ...] = ("start", "candidate", "reference")


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run whose evaluations are stored.

    Attributes:
        request_id: of the request.
        method: that made the candidate, with its version.
        parent: digest of the model it started from.
        evaluations: by role; the candidate's is there.
    """

    request_id: RequestId
    method: str
    parent: str
    evaluations: Mapping[Role, Evaluation]

    def find(self, role: Role, metric: str, split: str) -> Measurement | None:
        """A measurement that has a value, or None."""
        found = self.evaluations[role].find(metric, split) if role in self.evaluations else None
        return found if found is not None and found.value is not None else None

    @property
    def forget_rows(self) -> int:
        """How many rows the request had removed, as they were measured; 0 where that was not."""
        found = self.find("candidate", KNOWLEDGE, FORGET)
        return found.n_expected if found else 0


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement of a view: of which request, and at which place along the curve."""

    request_id: RequestId
    x: int
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Curve:
    """Points that belong together; a model's single number is a curve of one point."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class View:
    """One of the six.

    Attributes:
        name: of the view.
        title: for people.
        axis: what ``x`` counts; empty where the view is one number per model.
        curves: what was measured.
        missing: why there is nothing, or what was left out; empty where all is there.
    """

    name: str
    title: str
    axis: str
    curves: tuple[Curve, ...]
    missing: str


def muse_views(run: PastRun, *, others: Sequence[PastRun], chain: Sequence[RequestId]) -> tuple[View, ...]:
    """The six views of a run.

    Args:
        run: of the request in question.
        others: every run that is stored here, this one among them or not.
        chain: the requests that led to this run's candidate, the oldest first, itself last.
    """
    return (
        _numbers(run, "verbatim_memorization", "Verbatim memorisation (C1)", VERBATIM, FORGET),
        _numbers(run, "knowledge_memorization", "Knowledge memorisation (C2)", KNOWLEDGE, FORGET),
        _numbers(run, "privacy_leakage", "Privacy leakage (C3)", PRIVACY, FORGET),
        _numbers(run, "utility_preservation", "Utility preservation (C4)", KNOWLEDGE, RETAIN),
        _scalability(run, others),
        _sustainability(run, others, chain),
    )


def _numbers(run: PastRun, name: str, title: str, metric: str, split: str) -> View:
    found = ((role, run.find(role, metric, split)) for role in ROLES)
    curves = tuple(Curve(role, (Point(run.request_id, 0, m),)) for role, m in found if m is not None)
    needs = "; it needs a holdout and a reference" if metric == PRIVACY else ""
    missing = "" if any(curve.name == "candidate" for curve in curves) else f"{metric} has no value on {split}{needs}"
    return View(name=name, title=title, axis="", curves=curves, missing=missing)


def _scalability(run: PastRun, others: Sequence[PastRun]) -> View:
    """MUSE's C5: one method on one start model, forget sets of several sizes."""
    alike = [one for one in others if one.request_id != run.request_id]
    alike = [one for one in alike if (one.parent, one.method) == (run.parent, run.method)]
    placed = sorted(((one.forget_rows, one) for one in [run, *alike] if one.forget_rows), key=lambda pair: pair[0])
    sizes = {size for size, _ in placed}
    missing = (
        ""
        if len(sizes) > 1
        else (
            f"needs runs of {run.method} on this start model with other numbers of forget rows; "
            f"stored here: {', '.join(map(str, sorted(sizes))) or 'none'}"
        )
    )
    return _curves("scalability", "Scalability (C5)", "forget rows", run, placed, missing=missing)


def _sustainability(run: PastRun, others: Sequence[PastRun], chain: Sequence[RequestId]) -> View:
    """MUSE's C6: requests one after the other, each on the one before it."""
    stored = {one.request_id: one for one in [*others, run]}
    placed = [(place, stored[name]) for place, name in enumerate(chain, start=1) if name in stored]
    gone = [name for name in chain if name not in stored]
    if len(chain) < 2:
        missing = "needs requests that follow one another on one model; this is the model's first"
    else:
        missing = f"no evaluation stored here of {', '.join(gone)}" if gone else ""
    return _curves("sustainability", "Sustainability (C6)", "requests", run, placed, missing=missing)


def _curves(
    name: str, title: str, axis: str, run: PastRun, placed: Sequence[tuple[int, PastRun]], *, missing: str
) -> View:
    """Knowledge of what is kept, of what was asked to go, and of what earlier requests had removed, run by run."""
    wanted = run.find("candidate", KNOWLEDGE, FORGET) or run.find("candidate", KNOWLEDGE, RETAIN)
    version = wanted.version if wanted else ""
    found = {
        "retain": [(x, one, one.find("candidate", KNOWLEDGE, RETAIN)) for x, one in placed],
        "forget": [(x, one, one.find("candidate", KNOWLEDGE, FORGET)) for x, one in placed],
        "earlier": [(x, one, _most_earlier(one)) for x, one in placed],
    }
    measured = {curve: [(x, one, m) for x, one, m in line if m is not None] for curve, line in found.items()}
    odd = dict.fromkeys(one.request_id for line in measured.values() for _, one, m in line if m.version != version)
    curves = (
        Curve(curve, tuple(Point(one.request_id, x, m) for x, one, m in line if one.request_id not in odd))
        for curve, line in measured.items()
    )
    left_out = f"measured by another version: {', '.join(odd)}" if odd else ""
    return View(
        name=name,
        title=title,
        axis=axis,
        curves=tuple(curve for curve in curves if curve.points),
        missing="; ".join(part for part in (missing, left_out) if part),
    )


def _most_earlier(run: PastRun) -> Measurement | None:
    """The set of an earlier request that the candidate knows best."""
    splits: Iterable[str] = (m.split for m in run.evaluations["candidate"].measurements if m.split.startswith(EARLIER))
    found = [m for split in dict.fromkeys(splits) if (m := run.find("candidate", KNOWLEDGE, split)) is not None]
    return max(found, key=lambda m: m.value or 0.0, default=None)

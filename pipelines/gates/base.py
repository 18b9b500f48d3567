"""What a gate is: a name, its pass marks, and a judgement that reads measurements and fails closed.

Promises: a measurement that is absent, has no value, is not finite, covers fewer rows than it should, or comes from
    another version of its metric fails the gate with that reason. Gates read the pessimistic end of an interval. What
    a mark should be is the policy's business.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import Field

from pipelines.evaluation.statistics import Interval
from pipelines.records import Evaluation, GateResult, Measurement, Record, Role
from pipelines.scoring.table import EARLIER, FORGET


class Unmeasured(Exception):
    """A number that a gate needs is not there; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Number:
    """A complete measurement: finite, over every row."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Judged:
    """The evaluations that a gate may read; a role that nobody measured is None.

    Attributes:
        candidate: of the model that is judged.
        start: of the model it was made from.
        reference: of the model that never saw the forget set.
        read: names of the measurements that were asked for, as ``role/split/metric``; a verdict says what it stands on.
    """

    candidate: Evaluation
    start: Evaluation | None
    reference: Evaluation | None
    read: list[str] = field(default_factory=list, compare=False)

    @property
    def gone(self) -> tuple[str, ...]:
        """Splits that the candidate should not know: the forget set, and those that earlier requests had removed."""
        earlier = (m.split for m in self.candidate.measurements if m.split.startswith(EARLIER))
        return (FORGET, *dict.fromkeys(earlier))

    def number(self, role: Role, metric: str, split: str) -> Number:
        """The complete measurement of that metric on that split.

        Raises:
            Unmeasured: there is none, or it is not complete, or the candidate's is of another version.
        """
        self.read.append(f"{role}/{split}/{metric}")
        measurement = self._find(role, metric, split)
        ours = self.candidate.find(metric, split)
        if ours is not None and ours.version != measurement.version:
            raise Unmeasured(
                f"{metric} on {split}: version {ours.version} of the candidate, {measurement.version} of the {role}"
            )
        return _complete(measurement, role)

    def _find(self, role: Role, metric: str, split: str) -> Measurement:
        evaluations = {"start": self.start, "candidate": self.candidate, "reference": self.reference}
        evaluation = evaluations[role]
        if evaluation is None:
            raise Unmeasured(f"no {role} model was measured")
        measurement = evaluation.find(metric, split)
        if measurement is None:
            raise Unmeasured(f"{metric} on {split} was not measured for the {role}")
        return measurement


def _complete(measurement: Measurement, role: Role) -> Number:
    where = f"{measurement.metric} on {measurement.split} of the {role}"
    if measurement.value is None or measurement.low is None or measurement.high is None:
        raise Unmeasured(f"{where} has no value")
    if not all(math.isfinite(n) for n in (measurement.value, measurement.low, measurement.high)):
        raise Unmeasured(f"{where} is not a finite number")
    if measurement.low > measurement.high:
        raise Unmeasured(f"{where} has an interval that ends before it begins")
    if not measurement.complete:
        raise Unmeasured(f"{where} covers {measurement.n_scored} of {measurement.n_expected} items")
    return Number(value=measurement.value, interval=Interval(low=measurement.low, high=measurement.high))


class GateParams(Record):
    """Pass marks of a gate, and where they come from; each gate's own fields come on top."""

    source: str = Field(
        default="", max_length=1000, title="Source", description="Why these marks; shown wherever they are."
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """What a gate found.

    Attributes:
        slack: how far inside its mark the number lies; below 0 the gate fails.
        room: the slack of a number without any fault; what a mark allows.
        value: the number that decided, at its pessimistic end.
        bound: the mark it was held against.
        reason: in words and numbers.
    """

    slack: float
    room: float
    value: float
    bound: str
    reason: str

    @property
    def passed(self) -> bool:
        """Whether the mark is met."""
        return self.slack >= 0

    @property
    def margin(self) -> float:
        """Unused share of the room, so that gates with marks of different size compare: 1 faultless, below 0 failed."""
        return self.slack / self.room if self.room > 0 else self.slack


ParamsT = TypeVar("ParamsT", bound=GateParams)


@dataclass(frozen=True, slots=True)
class Gate(Generic[ParamsT]):
    """A gate.

    Attributes:
        name: in policies.
        title: for people.
        version: changes whenever the same measurements could give another result.
        source: where the idea of the gate comes from; the marks have their sources in the policy.
        params: model of its pass marks.
        check: (evaluations, marks) to a finding; raises :class:`Unmeasured` where a number is missing.
        probes: names of the probes that must run for it; what metrics measure is always there.
    """

    name: str
    title: str
    version: str
    source: str
    params: type[ParamsT]
    check: Callable[[Judged, ParamsT], Finding]
    probes: tuple[str, ...] = ()

    def judge(self, judged: Judged, params: ParamsT) -> GateResult:
        """The gate's result; never passes on missing evidence."""
        asked = replace(judged, read=[])
        try:
            found = self.check(asked, params)
        except Unmeasured as missing:
            result = GateResult(
                gate=self.name, passed=False, value=None, bound="measured completely", reason=str(missing)
            )
        else:
            result = GateResult(
                gate=self.name,
                passed=found.passed,
                value=found.value,
                bound=found.bound,
                reason=found.reason,
                margin=found.margin,
            )
        return result.model_copy(update={"measurements": tuple(dict.fromkeys(asked.read))})


AnyGate: TypeAlias = Gate[Any]
"""A gate whose marks are checked through its own model when a policy is judged."""


def at_most(what: str, *, high: float, limit: float) -> Finding:
    """The upper end of an interval must not exceed a limit."""
    verb = "is within" if high <= limit else "exceeds"
    reason = f"{what}: upper end {high:.4g} {verb} {limit:.4g}"
    return Finding(slack=limit - high, room=limit, value=high, bound=f"<= {limit:.4g}", reason=reason)


def at_least(what: str, *, low: float, limit: float, best: float = 1.0) -> Finding:
    """The lower end of an interval must not fall below a limit; ``best`` is what it would be without any fault."""
    verb = "reaches" if low >= limit else "falls below"
    reason = f"{what}: lower end {low:.4g} {verb} {limit:.4g}"
    return Finding(slack=low - limit, room=best - limit, value=low, bound=f">= {limit:.4g}", reason=reason)


def within(what: str, *, interval: Interval, centre: float, margin: float) -> Finding:
    """Both ends of an interval must lie within a margin around a centre; the end further away decides."""
    worst = max(interval.low, interval.high, key=lambda end: abs(end - centre))
    slack = margin - abs(worst - centre)
    band = f"[{centre - margin:.4g}, {centre + margin:.4g}]"
    verb = "stays within" if slack >= 0 else "leaves"
    reason = f"{what}: {interval.low:.4g} to {interval.high:.4g} {verb} {band}"
    return Finding(slack=slack, room=margin, value=worst, bound=f"in {band}", reason=reason)


def kept(judged: Judged, metric: str, split: str, *, ratio: float) -> Finding:
    """The candidate's lower end must reach a share of the start model's value.

    Raises:
        Unmeasured: a number is missing, or the start model's is 0: where nothing was there, keeping it shows nothing.
    """
    start = judged.number("start", metric, split).value
    if start <= 0:
        raise Unmeasured(f"{metric} on {split} of the start is {start:.4g}, so a share of it means nothing")
    low = judged.number("candidate", metric, split).interval.low
    what = f"{metric} on {split}, {ratio:g} of the start's {start:.4g}"
    return at_least(what, low=low, limit=ratio * start, best=start)


def all_of(findings: Sequence[Finding]) -> Finding:
    """Every mark must be met; the tightest finding gives the number, those that failed are all named."""
    tightest = min(findings, key=lambda finding: finding.margin)
    failed = [finding.reason for finding in findings if not finding.passed]
    return replace(tightest, reason="; ".join(failed) or tightest.reason)

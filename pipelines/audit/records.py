"""What a certificate, a refusal and an approval say, as frozen records and as JSON.

Promises: every record reads back from the JSON that it writes, and nothing else reads: each field is checked for
presence, type and form, and an unknown field is refused. It does not judge what the figures mean: that is
`statement.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.audit import fields
from pipelines.audit.canonical import Json
from pipelines.audit.instants import format_instant, parse_instant
from pipelines.errors import BadInput


@dataclass(frozen=True)
class SetRecord:
    """A set of rows: its digest (keyed for a forget set) and how many rows it has."""

    digest: str
    count: int

    def to_json(self) -> dict[str, Json]:
        """As it stands in a statement."""
        return {"digest": self.digest, "count": self.count}

    @classmethod
    def from_json(cls, value: object, *, what: str) -> "SetRecord":
        """Read it back.

        Raises:
            BadInput: anything that `to_json` would not have written.
        """
        top = fields.record(value, ("digest", "count"), what=what)
        return cls(
            fields.sha256(top["digest"], what=f"{what}: digest"), fields.count(top["count"], what=f"{what}: count")
        )


@dataclass(frozen=True)
class ModelRecord:
    """A model: name, version, digest of its folder's manifest, and digest of the model it was made from, if any."""

    name: str
    version: str
    digest: str
    parent: str | None = None

    def to_json(self) -> dict[str, Json]:
        """As it stands in a statement."""
        return {"name": self.name, "version": self.version, "digest": self.digest, "parent": self.parent}

    @classmethod
    def from_json(cls, value: object, *, what: str) -> "ModelRecord":
        """Read it back.

        Raises:
            BadInput: anything that `to_json` would not have written.
        """
        top = fields.record(value, ("name", "version", "digest", "parent"), what=what)
        parent = top["parent"]
        return cls(
            name=fields.code(top["name"], what=f"{what}: name"),
            version=fields.code(top["version"], what=f"{what}: version"),
            digest=fields.sha256(top["digest"], what=f"{what}: digest"),
            parent=None if parent is None else fields.sha256(parent, what=f"{what}: parent"),
        )


@dataclass(frozen=True)
class MethodRecord:
    """The unlearning method, its version, and the digest of its parameters."""

    name: str
    version: str
    params_digest: str

    def to_json(self) -> dict[str, Json]:
        """As it stands in a statement."""
        return {"name": self.name, "version": self.version, "params_digest": self.params_digest}

    @classmethod
    def from_json(cls, value: object, *, what: str) -> "MethodRecord":
        """Read it back.

        Raises:
            BadInput: anything that `to_json` would not have written.
        """
        top = fields.record(value, ("name", "version", "params_digest"), what=what)
        return cls(
            name=fields.code(top["name"], what=f"{what}: name"),
            version=fields.code(top["version"], what=f"{what}: version"),
            params_digest=fields.sha256(top["params_digest"], what=f"{what}: params_digest"),
        )


@dataclass(frozen=True)
class CodeRecord:
    """The code that ran: its commit, and the digest of the lock file that named its dependencies."""

    commit: str
    lock_digest: str

    def to_json(self) -> dict[str, Json]:
        """As it stands in a statement."""
        return {"commit": self.commit, "lock_digest": self.lock_digest}

    @classmethod
    def from_json(cls, value: object, *, what: str) -> "CodeRecord":
        """Read it back.

        Raises:
            BadInput: anything that `to_json` would not have written.
        """
        top = fields.record(value, ("commit", "lock_digest"), what=what)
        commit = fields.code(top["commit"], what=f"{what}: commit")
        return cls(commit, fields.sha256(top["lock_digest"], what=f"{what}: lock_digest"))


@dataclass(frozen=True)
class Interval:
    """A confidence interval, ends included."""

    low: float
    high: float


@dataclass(frozen=True)
class MetricRecord:
    """One measurement. A value of None says that it could not be taken; n_scored below n_expected, that it is partial.

    Attributes:
        name: unique in the statement; where several models or sets are measured, the name says which.
        version: of the metric's definition.
        value: None where the figure is missing or not a number.
        interval: None where none was computed.
        n_scored: rows that the value is made of.
        n_expected: rows that it should be made of.
        items_digest: of the per-row results.
    """

    name: str
    version: str
    value: float | None
    interval: Interval | None
    n_scored: int
    n_expected: int
    items_digest: str

    @property
    def complete(self) -> bool:
        """Whether the value is there and every expected row went into it."""
        return self.value is not None and 0 < self.n_scored == self.n_expected

    def to_json(self) -> dict[str, Json]:
        """As it stands in a statement."""
        return {
            "name": self.name,
            "version": self.version,
            "value": self.value,
            "interval": None if self.interval is None else [self.interval.low, self.interval.high],
            "n_scored": self.n_scored,
            "n_expected": self.n_expected,
            "items_digest": self.items_digest,
        }

    @classmethod
    def from_json(cls, value: object, *, what: str) -> "MetricRecord":
        """Read it back.

        Raises:
            BadInput: anything that `to_json` would not have written, or more rows scored than expected.
        """
        names = ("name", "version", "value", "interval", "n_scored", "n_expected", "items_digest")
        top = fields.record(value, names, what=what)
        figure = top["value"]
        result = cls(
            name=fields.code(top["name"], what=f"{what}: name"),
            version=fields.code(top["version"], what=f"{what}: version"),
            value=None if figure is None else fields.number(figure, what=f"{what}: value"),
            interval=_interval(top["interval"], what=f"{what}: interval"),
            n_scored=fields.count(top["n_scored"], what=f"{what}: n_scored"),
            n_expected=fields.count(top["n_expected"], what=f"{what}: n_expected"),
            items_digest=fields.sha256(top["items_digest"], what=f"{what}: items_digest"),
        )
        if result.n_scored > result.n_expected:
            raise BadInput(f"{what}: {result.n_scored} rows scored, {result.n_expected} expected")
        return result


@dataclass(frozen=True)
class GateRecord:
    """One gate's verdict, and the names of the metrics it stands on (none for a gate on the data)."""

    name: str
    passed: bool
    metrics: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """As it stands in a statement."""
        return {"name": self.name, "passed": self.passed, "metrics": list(self.metrics)}

    @classmethod
    def from_json(cls, value: object, *, what: str) -> "GateRecord":
        """Read it back.

        Raises:
            BadInput: anything that `to_json` would not have written.
        """
        top = fields.record(value, ("name", "passed", "metrics"), what=what)
        return cls(
            name=fields.code(top["name"], what=f"{what}: name"),
            passed=fields.flag(top["passed"], what=f"{what}: passed"),
            metrics=tuple(
                fields.code(item, what=f"{what}: metric") for item in fields.items(top["metrics"], what=what)
            ),
        )


@dataclass(frozen=True)
class Approval:
    """One person's consent to one promotion: bound to what was shown, for one use, until it expires.

    Attributes:
        request: commitment of the erasure request.
        candidate_digest: of the model folder to be promoted.
        forget_digest: keyed digest of the forget set.
        evidence_digest: of the evidence that was shown.
        nonce: 32 random bytes in hex; an approval is spent with it.
        requester_commitment: keyed digest of who asked; the approver is somebody else.
        issued: when it was signed.
        expires: from then on it is void.
        approver_commitment: digest of who approves, keyed like the requester's; None where the request's salt is gone.
    """

    request: str
    candidate_digest: str
    forget_digest: str
    evidence_digest: str
    nonce: str
    requester_commitment: str
    issued: datetime
    expires: datetime
    approver_commitment: str | None = None

    def to_json(self) -> dict[str, Json]:
        """As it stands in a statement."""
        return {
            "request": self.request,
            "candidate_digest": self.candidate_digest,
            "forget_digest": self.forget_digest,
            "evidence_digest": self.evidence_digest,
            "nonce": self.nonce,
            "requester_commitment": self.requester_commitment,
            "approver_commitment": self.approver_commitment,
            "issued": format_instant(self.issued),
            "expires": format_instant(self.expires),
        }

    @classmethod
    def from_json(cls, value: object, *, what: str) -> "Approval":
        """Read it back.

        Raises:
            BadInput: anything that `to_json` would not have written, or it expires before it begins.
        """
        digests = ("request", "candidate_digest", "forget_digest", "evidence_digest", "nonce", "requester_commitment")
        top = fields.record(value, (*digests, "approver_commitment", "issued", "expires"), what=what)
        approver = top["approver_commitment"]
        checked = {name: fields.sha256(top[name], what=f"{what}: {name}") for name in digests}
        result = cls(
            request=checked["request"],
            candidate_digest=checked["candidate_digest"],
            forget_digest=checked["forget_digest"],
            evidence_digest=checked["evidence_digest"],
            nonce=checked["nonce"],
            requester_commitment=checked["requester_commitment"],
            issued=parse_instant(top["issued"], what=f"{what}: issued"),
            expires=parse_instant(top["expires"], what=f"{what}: expires"),
            approver_commitment=None if approver is None else fields.sha256(approver, what=f"{what}: approver"),
        )
        if result.expires <= result.issued:
            raise BadInput(f"{what}: expires before it begins")
        return result


def _interval(value: object, *, what: str) -> Interval | None:
    if value is None:
        return None
    ends: Sequence[object] = fields.items(value, what=what)
    if len(ends) != 2:
        raise BadInput(f"{what}: must be [low, high] or null")
    result = Interval(fields.number(ends[0], what=what), fields.number(ends[1], what=what))
    if result.low > result.high:
        raise BadInput(f"{what}: low is above high")
    return result

"""The frozen records that cross layers: what a stage takes and gives. No text of a forget set fits into any of them.

Every record refuses unknown fields and has one canonical form (RFC 8785) and one digest, so that a log entry or a
certificate can name it. A request as it arrives (:class:`RequestFile`) does hold personal text; it is read inside the
vault and turned at once into an :class:`ErasureRequest`, which holds keyed commitments instead.
"""

import math
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from pipelines.audit.canonical import digest

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 (plain or keyed) as 64 lower-case hex digits."""

RequestId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{2,63}$")]
"""Name of a request; stands in logs and paths, so it must say nothing about a person."""

Role = Literal["start", "candidate", "reference"]
"""What a model is in a run: what it started from, what is judged, what never saw the forget set."""


class Record(BaseModel):
    """Base of all records: frozen, no unknown fields, canonical JSON, a digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def plain(self) -> dict[str, object]:
        """The record as JSON values."""
        return self.model_dump(mode="json")

    def content_digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self.plain())


class TargetKind(StrEnum):
    """What the requester wants gone."""

    DATA_POINTS = "data_points"
    KNOWLEDGE = "knowledge"
    CAPABILITY = "capability"


class LegalBasis(StrEnum):
    """Why the request must be answered."""

    GDPR_ART_17 = "gdpr_art_17"
    CONTRACT = "contract"
    COPYRIGHT = "copyright"
    COURT_ORDER = "court_order"
    POLICY = "policy"


class Selector(Record):
    """Which training rows the requester means: exactly one of the four. Holds text: vault only."""

    rows: str | None = Field(
        default=None, title="Rows", description="DATA reference of the rows to forget (a file, a folder or a hub name)."
    )
    row_indices: tuple[int, ...] | None = Field(
        default=None, title="Row indices", description="Positions in the training data, from 0."
    )
    query: str | None = Field(
        default=None, title="Query", description="Text; attribution finds the rows that taught it."
    )
    entity: str | None = Field(
        default=None, title="Entity", description="A name; every training row that mentions it is meant."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of rows, row_indices, query, entity (given: {', '.join(given) or 'none'})"
            )
        return self

    @property
    def kind(self) -> str:
        """Name of the field that is set."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)


class RequestFile(Record):
    """A request as it arrives, with the requester's words. Exists only on the requester's side and in the vault."""

    id: RequestId = Field(title="Request id", description="Opaque name of the request, for example REQ-2026-0001.")
    target: TargetKind = Field(title="Target", description="data_points, knowledge or capability.")
    selector: Selector = Field(
        title="Selector", description="Which rows: exactly one of rows, row_indices, query, entity."
    )
    legal_basis: LegalBasis = Field(title="Legal basis", description="Why the request must be answered.")
    requester: str = Field(
        min_length=1, title="Requester", description="Who asks; kept in the vault, elsewhere only as a keyed digest."
    )
    received: AwareDatetime = Field(title="Received", description="When the request arrived, with a time zone.")
    recipients: tuple[str, ...] = Field(
        default=(),
        title="Recipients",
        description="To whom the data or a model made from it was passed on, and who must be told (GDPR Art. 19).",
    )


class ErasureRequest(Record):
    """A request as the rest of the system sees it: commitments under the request's own salt, and a deadline."""

    id: RequestId
    target: TargetKind
    selector_kind: str
    selector_commitment: Digest
    legal_basis: LegalBasis
    requester_commitment: Digest
    received: AwareDatetime
    deadline: AwareDatetime
    recipients: int = 0


def deadline_after(received: datetime, *, months: int = 1) -> datetime:
    """Calendar months after ``received`` (GDPR Art. 12(3): one, or up to three); the last day of a shorter month."""
    at = received.astimezone(UTC)
    year, month = at.year + (at.month + months - 1) // 12, (at.month + months - 1) % 12 + 1
    after_next = date(year + month // 12, month % 12 + 1, 1)
    return at.replace(year=year, month=month, day=min(at.day, (after_next - timedelta(days=1)).day))


class SealedSet(Record):
    """A data set as everyone outside the vault sees it: a keyed digest under the request's salt, and a count."""

    role: Literal["forget", "retain"]
    commitment: Digest
    count: int = Field(ge=0)


class ModelRef(Record):
    """A model folder: where it is now (may move) and what it is (may not)."""

    path: str
    digest: Digest


class Candidate(Record):
    """What an unlearning run produced."""

    model: ModelRef
    parent_digest: Digest
    method: str
    method_version: str
    params_digest: Digest
    steps: int = Field(ge=0)
    epochs: int = Field(ge=0)
    stop_reason: str


class Measurement(Record):
    """One number about one model on one split, with a two-sided bootstrap interval.

    ``value`` is None where the measure could not be computed; no gate passes on it. ``items_digest`` is the SHA-256
    of the canonical list of per-item values, so that a stored table of them can be checked against the certificate.
    """

    metric: str
    version: str
    split: str
    value: float | None
    low: float | None
    high: float | None
    n_scored: int = Field(ge=0)
    n_expected: int = Field(ge=0)
    items_digest: Digest

    @model_validator(mode="after")
    def _finite(self) -> Self:
        numbers = [n for n in (self.value, self.low, self.high) if n is not None]
        if not all(math.isfinite(n) for n in numbers):
            raise ValueError("a measurement is a finite number or None")
        if self.n_scored > self.n_expected:
            raise ValueError(f"n_scored {self.n_scored} exceeds n_expected {self.n_expected}")
        return self

    @property
    def complete(self) -> bool:
        """Whether every expected item was scored and the value and its interval exist."""
        return None not in (self.value, self.low, self.high) and 0 < self.n_expected == self.n_scored


class Evaluation(Record):
    """All measurements of one model."""

    role: Role
    model_digest: Digest
    measurements: tuple[Measurement, ...]

    def find(self, metric: str, split: str) -> Measurement | None:
        """The measurement of that metric on that split, or None."""
        return next((m for m in self.measurements if (m.metric, m.split) == (metric, split)), None)


class GateResult(Record):
    """What one gate says: the number it read (pessimistic end), the bound, and why.

    ``measurements`` names what it stands on as ``role/split/metric``; a certificate with one of them missing or partial
    is refused. ``margin`` is the share of the room that the bound leaves and the number does not use: 1 is faultless,
    below 0 fails, None was not measured.
    """

    gate: str
    passed: bool
    value: float | None
    bound: str
    reason: str
    measurements: tuple[str, ...] = ()
    margin: float | None = None


class Verdict(Record):
    """The judgement of one candidate under one policy; passes only if every mandatory gate is there and passed."""

    passed: bool
    policy_digest: Digest
    gates: tuple[GateResult, ...]
    reasons: tuple[str, ...]

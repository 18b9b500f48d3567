"""What attribution found, as records without text: positions in the training data, scores, ranks, validity."""

from typing import Literal

from pydantic import Field

from pipelines.records import Record


class Effect(Record):
    """A mean over checked rows with its bootstrap interval and a test.

    Attributes:
        mean: of the differences, in nats per answer token.
        low: lower end of the two-sided 95 % percentile bootstrap interval.
        high: upper end.
        p_value: one-sided; sign test of paired differences, Mann-Whitney of two samples.
        n: checked rows.
    """

    mean: float
    low: float
    high: float
    p_value: float = Field(ge=0, le=1)
    n: int = Field(ge=1)

    @property
    def above_zero(self) -> bool:
        """Whether the interval says so, and the test at 1 %."""
        return self.low > 0 and self.p_value <= 0.01


class Validity(Record):
    """Whether a causal leg's scores mean anything on this model.

    Attributes:
        trace: how much better the model knows its training rows than rows it never saw.
        tail_patch: how much more a small step on the proposed rows raises a training row than a step on random rows
            does.
        paraphrased: checked rows that were asked about in a paraphrase; the others in plain text.
    """

    trace: Effect
    tail_patch: Effect
    paraphrased: int = Field(ge=0)

    @property
    def valid(self) -> bool:
        """Both effects are there."""
        return self.trace.above_zero and self.tail_patch.above_zero


class Evidence(Record):
    """Why one leg proposes a row.

    Attributes:
        leg: name of the attributor.
        query: index of the query row that found it best.
        score: in the leg's own units, above the leg's threshold.
        rank: 1 for that query's best row, rows that the request named not counted.
    """

    leg: str
    query: int = Field(ge=0)
    score: float
    rank: int = Field(ge=1)


class Proposal(Record):
    """A training row that the request did not name, and the evidence of each leg that found it."""

    row: int = Field(ge=0)
    evidence: tuple[Evidence, ...] = Field(min_length=1)

    @property
    def legs(self) -> frozenset[str]:
        """Names of the legs that found it."""
        return frozenset(found.leg for found in self.evidence)


class LegReport(Record):
    """One leg's control: the score that null queries reach too, and the validity of a leg that claims causes."""

    leg: str
    version: str
    status: Literal["used", "attribution_invalid"]
    threshold: float
    null: Literal["holdout", "scrambled"]
    n_null: int = Field(ge=1)
    n_found: int = Field(ge=0)
    validity: Validity | None


class AttributionReport(Record):
    """Training rows that the request did not name, by agreement of the legs; without an invalid leg's rows."""

    n_train: int = Field(ge=1)
    n_queries: int = Field(ge=1)
    n_named: int = Field(ge=0)
    seed: int
    legs: tuple[LegReport, ...]
    proposals: tuple[Proposal, ...]

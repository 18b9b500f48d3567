"""Rows that the request did not name, found by all legs together: a proposal to people, with the reason for every row.

A row is proposed when a leg scores it above what queries about things never trained on reach
(:mod:`pipelines.attribution.null`) and among the query's best. A leg that claims causes is believed only where it
proved itself on this very model (:mod:`pipelines.attribution.validity`); otherwise the report says so and its rows are
dropped. The result holds no text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.attribution import ATTRIBUTORS
from pipelines.attribution.contract import Attributor, Scores, Subject
from pipelines.attribution.null import NullControl, null_control, threshold
from pipelines.attribution.report import AttributionReport, Evidence, LegReport, Proposal, Validity
from pipelines.attribution.validity import Check, choose_checks, measure_validity
from pipelines.config import AttributionSettings
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput


@dataclass(frozen=True, slots=True)
class _Inquiry:
    """What every leg is asked."""

    train: Rows
    queries: tuple[Row, ...]
    null: NullControl
    checks: Sequence[Check]
    named: frozenset[int]
    subject: Subject
    top_k: int
    seed: int


def attribute(
    train: Rows, *, queries: Rows, holdout: Rows | None, subject: Subject, settings: AttributionSettings, seed: int
) -> AttributionReport:
    """The training rows behind the queries, the queries themselves left out.

    Args:
        train: rows that the model was trained on.
        queries: rows of the request, or its text as one row without a question.
        holdout: rows that no model was trained on, or None.
        subject: the model and how it is asked; left as it was found.
        settings: which legs, and how many rows per query and leg.
        seed: of projections, null queries and checks.

    Raises:
        BadInput: no training rows, no queries, or a row that does not fit into the model's context.
    """
    if not len(train) or not len(queries):
        raise BadInput(
            f"attribution: {len(train)} training rows and {len(queries)} queries; at least one of each is needed"
        )
    asked = tuple(queries)
    digests = set(queries.digests)
    inquiry = _Inquiry(
        train=train,
        queries=asked,
        null=null_control(train, asked, holdout=holdout, seed=seed),
        checks=choose_checks(train, asked, seed=seed),
        named=frozenset(i for i, digest in enumerate(train.digests) if digest in digests),
        subject=subject,
        top_k=settings.top_k,
        seed=seed,
    )
    answers = [_ask(ATTRIBUTORS.require(name), inquiry) for name in settings.backends]
    return AttributionReport(
        n_train=len(train),
        n_queries=len(asked),
        n_named=len(inquiry.named),
        seed=seed,
        legs=tuple(leg for leg, _ in answers),
        proposals=_union([found for leg, hits in answers if leg.status == "used" for found in hits]),
    )


@dataclass(frozen=True, slots=True)
class _Hit:
    """One row found by one leg for one query."""

    row: int
    evidence: Evidence


def _ask(attributor: Attributor, inquiry: _Inquiry) -> tuple[LegReport, list[_Hit]]:
    real, null = list(inquiry.queries), list(inquiry.null.rows)
    checked = [check.reworded for check in inquiry.checks] if attributor.causal else []
    scores = attributor.score(inquiry.train, Rows.of([*real, *null, *checked]), inquiry.subject, inquiry.seed)
    scores_real, scores_null, scores_checked = np.split(scores, [len(real), len(real) + len(null)])
    limit = threshold(scores_null)
    validity = _validity(inquiry, scores_checked) if attributor.causal else None
    hits = _hits(attributor.name, scores_real, limit=limit, inquiry=inquiry)
    leg = LegReport(
        leg=attributor.name,
        version=attributor.version,
        status="used" if validity is None or validity.valid else "attribution_invalid",
        threshold=limit,
        null=inquiry.null.kind,
        n_null=len(null),
        n_found=len({hit.row for hit in hits}),
        validity=validity,
    )
    return leg, hits


def _validity(inquiry: _Inquiry, scores: Scores) -> Validity:
    return measure_validity(
        inquiry.train, inquiry.checks, scores, null=inquiry.null.rows, subject=inquiry.subject, seed=inquiry.seed
    )


def _hits(name: str, scores: Scores, *, limit: float, inquiry: _Inquiry) -> list[_Hit]:
    free = np.array([i for i in range(len(inquiry.train)) if i not in inquiry.named], dtype=np.intp)
    hits = []
    for query, line in enumerate(scores):
        best = free[np.argsort(-line[free], kind="stable")][: inquiry.top_k]
        for rank, row in enumerate(best.tolist(), start=1):
            if line[row] > limit:
                hits.append(_Hit(row, Evidence(leg=name, query=query, score=float(line[row]), rank=rank)))
    return hits


def _union(hits: Sequence[_Hit]) -> tuple[Proposal, ...]:
    """One proposal per row with each leg's best evidence; rows that more legs agree on first, then by rank."""
    best: dict[tuple[int, str], Evidence] = {}
    for hit in hits:
        key = (hit.row, hit.evidence.leg)
        if key not in best or (hit.evidence.rank, -hit.evidence.score) < (best[key].rank, -best[key].score):
            best[key] = hit.evidence
    rows = dict.fromkeys(row for row, _ in best)
    proposals = [Proposal(row=row, evidence=tuple(e for (r, _), e in best.items() if r == row)) for row in rows]
    return tuple(sorted(proposals, key=lambda p: (-len(p.evidence), min(e.rank for e in p.evidence), p.row)))

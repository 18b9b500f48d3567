"""The scope of a request: which training rows are forgotten, which are measured apart, which are only proposed.

Only rows that say nearly the same as a forget row join the forget set by themselves, and only where the settings
say so; what attribution found is a proposal to people. Promises that forget set, copies and retain set part the
training data. No text.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from pipelines.attribution.bm25 import lexical_scores
from pipelines.attribution.report import AttributionReport, Proposal
from pipelines.config import ScopeSettings
from pipelines.data.rows import Row, Rows
from pipelines.data.similar import Pair, near_duplicates
from pipelines.errors import BadInput
from pipelines.records import Record
from pipelines.scope.selection import Selection


class ForgetRow(Record):
    """A row of the forget set, and why it is there.

    Attributes:
        row: position in the training data.
        reason: it was requested, or it says nearly the same as a row that is.
        like: position of the forget row that it is like, for a near-duplicate.
        similarity: Jaccard similarity of their word 3-grams, for a near-duplicate.
    """

    row: int = Field(ge=0)
    reason: Literal["requested", "near_duplicate"]
    like: int | None = None
    similarity: float | None = None


class Scope(Record):
    """Where the line runs between what goes and what stays, as positions in the training data, ascending.

    Attributes:
        forget: distinct rows to forget.
        copies: further copies of them: neither forgotten twice nor retained.
        hard_in_scope: forget rows that carry a paraphrase: forgetting must reach it too.
        neighbours: the retain rows closest to the forget set, measured apart.
        similar: near-duplicates that were left in the retain set, because the settings only propose.
        proposals: rows that attribution found, for people to review; the best first.
        earlier: rows that earlier requests had removed from the start model: neither forgotten again nor taught again.
    """

    n_train: int = Field(ge=1)
    forget: tuple[ForgetRow, ...] = Field(min_length=1)
    copies: tuple[int, ...]
    hard_in_scope: tuple[int, ...]
    neighbours: tuple[int, ...]
    similar: tuple[ForgetRow, ...]
    proposals: tuple[Proposal, ...]
    earlier: tuple[int, ...] = ()

    @property
    def forget_rows(self) -> tuple[int, ...]:
        """Positions of the forget set."""
        return tuple(found.row for found in self.forget)

    @property
    def retain_rows(self) -> tuple[int, ...]:
        """Positions of the retain set: all the rest, neighbours included."""
        gone = {*self.forget_rows, *self.copies, *self.earlier}
        return tuple(i for i in range(self.n_train) if i not in gone)

    @property
    def n_out_of_scope(self) -> int:
        """Retain rows that are not neighbours."""
        return len(self.retain_rows) - len(self.neighbours)


def build_scope(
    train: Rows,
    selection: Selection,
    *,
    settings: ScopeSettings,
    selected: Rows | None = None,
    report: AttributionReport | None = None,
    earlier: frozenset[str] = frozenset(),
) -> Scope:
    """The scope of a request.

    Args:
        train: training data.
        selection: rows that the request names.
        settings: what becomes of near-duplicates, and how many neighbours there are.
        selected: the requester's own rows, whose paraphrases count where the training rows have none.
        report: what attribution found, or None.
        earlier: digests of rows that earlier requests had removed from the start model.

    Raises:
        BadInput: nothing to forget, or nothing left to retain.
    """
    if not selection.rows:
        raise BadInput("scope: the forget set is empty; at least one row is needed")
    named = {*selection.rows, *selection.copies}
    similar = _near_copies(train, selection, threshold=settings.near_duplicate)
    added = similar if settings.additions == "near_duplicates" else ()
    forget = (*(ForgetRow(row=i, reason="requested") for i in selection.rows), *added)
    gone = named | {found.row for found in added}
    removed = {i for i, digest in enumerate(train.digests) if digest in earlier} - gone
    retain = [i for i in range(len(train)) if i not in gone and i not in removed]
    if not retain:
        raise BadInput(f"scope: all {len(train)} training rows would be forgotten; some must be left to retain")
    rows = tuple(sorted(found.row for found in forget))
    known = forget_set(train, rows, selected=selected)
    paraphrased = (i for i, row in zip(rows, known, strict=True) if row.paraphrased_question or row.paraphrased_answer)
    return Scope(
        n_train=len(train),
        forget=tuple(sorted(forget, key=lambda found: found.row)),
        copies=selection.copies,
        hard_in_scope=tuple(paraphrased),
        neighbours=nearest(train, rows, retain, count=settings.neighbours),
        similar=() if added else similar,
        proposals=tuple(p for p in report.proposals if p.row not in gone and p.row not in removed) if report else (),
        earlier=tuple(sorted(removed)),
    )


def forget_set(train: Rows, forget: Sequence[int], *, selected: Rows | None = None) -> Rows:
    """The forget rows, with the paraphrases and wrong answers that the training data or the requester's file has."""
    given: Mapping[str, Row] = dict(zip(selected.digests, selected, strict=True)) if selected is not None else {}
    own = train.select(forget)
    return Rows.of(row if _is_rich(row) else given.get(row.digest, row) for row in own)


def _is_rich(row: Row) -> bool:
    return bool(row.paraphrased_question or row.paraphrased_answer or row.perturbed_answer)


def nearest(train: Rows, forget: Sequence[int], retain: Sequence[int], *, count: int) -> tuple[int, ...]:
    """The retain rows lexically closest to the forget set, each forget row's best before any one's second best.

    Lexical neighbours suffer most from forgetting ("Which Retain Set Matters", arXiv 2502.11441). Rows that share no
    word with any forget row are not neighbours, however few there are.
    """
    scores = lexical_scores(train.select(retain), train.select(forget))
    ranks = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1).min(axis=0)
    best = scores.max(axis=0)
    order = np.lexsort((-best, ranks))
    chosen = [retain[i] for i in order[:count].tolist() if best[i] > 0]
    return tuple(sorted(chosen))


def _near_copies(train: Rows, selection: Selection, *, threshold: float) -> tuple[ForgetRow, ...]:
    """Rows like a forget row, rows like those, and so on: no near-copy of the whole set may be left behind."""
    taken = {*selection.rows, *selection.copies}
    found: list[ForgetRow] = []
    frontier = list(selection.rows)
    while frontier:
        rest = [i for i in range(len(train)) if i not in taken]
        pairs = near_duplicates(train.select(frontier), train.select(rest), threshold=threshold)
        closest: dict[int, Pair] = {}
        for pair in pairs:
            if pair.right not in closest or pair.similarity > closest[pair.right].similarity:
                closest[pair.right] = pair
        fresh = [_near_copy(pair, frontier, rest) for pair in closest.values()]
        found += fresh
        frontier = [row.row for row in fresh]
        taken.update(frontier)
    return tuple(sorted(found, key=lambda row: row.row))


def _near_copy(pair: Pair, frontier: Sequence[int], rest: Sequence[int]) -> ForgetRow:
    return ForgetRow(
        row=rest[pair.right], reason="near_duplicate", like=frontier[pair.left], similarity=pair.similarity
    )

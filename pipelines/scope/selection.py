"""From what the requester pointed at to positions in the training data.

Promises that every row named is found or the request is refused, and that a message names positions only: a forget
row by its index in the requester's file, never its text or the words of a selector.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.attribution.report import AttributionReport
from pipelines.data.rows import Row, Rows
from pipelines.data.similar import plain
from pipelines.errors import BadInput
from pipelines.records import Selector

LEXICAL = "bm25"
"""The leg whose hits count as named by a query; what only a causal leg finds is proposed to people."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Training rows that the request names.

    Attributes:
        rows: one position per distinct row, ascending.
        copies: further positions of the same rows, ascending.
    """

    rows: tuple[int, ...]
    copies: tuple[int, ...] = ()


def resolve(
    selector: Selector, train: Rows, *, selected: Rows | None = None, report: AttributionReport | None = None
) -> Selection:
    """Positions of the rows that a selector means.

    Args:
        selector: of the request.
        train: training data.
        selected: the rows that ``selector.rows`` refers to; needed for that kind.
        report: what attribution found for the query; needed for that kind.

    Raises:
        BadInput: a row that is no training row or is given twice, a position out of range, a query or entity that finds
            nothing.
    """
    if selected is not None:
        return select_rows(selected, train)
    if selector.row_indices is not None:
        return _at(selector.row_indices, train)
    if selector.entity is not None:
        return _mentioning(selector.entity, train)
    if selector.query is not None and report is not None:
        return _found_by(report, train)
    raise BadInput(f"selector {selector.kind}: what it refers to was not given; read its rows or run attribution first")


def select_rows(selected: Rows, train: Rows) -> Selection:
    """Positions of given rows in the training data, matched by the digest of question and answer.

    Raises:
        BadInput: no rows, a row given twice, or a row that is not in the training data.
    """
    refuse_copies(selected, name="forget")
    places = _places(train)
    missing = [i for i, digest in enumerate(selected.digests) if digest not in places]
    if missing:
        raise BadInput(
            f"forget: {_positions(missing)} not in the training data ({len(train)} rows); "
            "question and answer must be the very text that was trained on"
        )
    return _distinct((places[digest][0] for digest in selected.digests), places, train)


def refuse_copies(rows: Rows, *, name: str) -> None:
    """Refuse a set that is empty or holds a row twice.

    Raises:
        BadInput: naming the set and the positions.
    """
    if not len(rows):
        raise BadInput(f"{name}: there are no rows; at least one is needed")
    copies = [where for where in _places(rows).values() if len(where) > 1]
    if copies:
        more = f" (and {len(copies) - 1} more)" if len(copies) > 1 else ""
        raise BadInput(
            f"{name}: rows {' and '.join(map(str, copies[0]))} are the same{more}; every row may stand there once"
        )


def refuse_overlap(forget: Rows, retain: Rows) -> None:
    """Refuse sets that share a row.

    Raises:
        BadInput: naming the first such row's position in each.
    """
    kept = {digest: i for i, digest in enumerate(retain.digests)}
    both = [(i, kept[digest]) for i, digest in enumerate(forget.digests) if digest in kept]
    if both:
        i, j = both[0]
        raise BadInput(
            f"forget and retain overlap in {len(both)} rows: forget row {i} is retain row {j}; keep it in one"
        )


def _places(rows: Rows) -> Mapping[str, Sequence[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for i, digest in enumerate(rows.digests):
        places[digest].append(i)
    return places


def _positions(found: Sequence[int]) -> str:
    shown = ", ".join(map(str, found[:10])) + (", ..." if len(found) > 10 else "")
    return f"row {shown} is" if len(found) == 1 else f"rows {shown} ({len(found)} in all) are"


def _distinct(named: Iterable[int], places: Mapping[str, Sequence[int]], train: Rows) -> Selection:
    digests = dict.fromkeys(train.digests[i] for i in named)
    rows = sorted(places[digest][0] for digest in digests)
    return Selection(rows=tuple(rows), copies=tuple(sorted(i for digest in digests for i in places[digest][1:])))


def _at(indices: Sequence[int], train: Rows) -> Selection:
    outside = [i for i in indices if not 0 <= i < len(train)]
    if not indices:
        raise BadInput("selector row_indices: there are none; at least one position is needed")
    if outside:
        raise BadInput(f"selector row_indices: {outside[0]} is out of range; positions 0 to {len(train) - 1} exist")
    if len(set(indices)) < len(indices):
        raise BadInput("selector row_indices: a position stands there twice; give each once")
    return _distinct(indices, _places(train), train)


def _mentioning(entity: str, train: Rows) -> Selection:
    if not plain(entity):
        raise BadInput("selector entity: it is blank; give a name")
    pattern = re.compile(rf"(?<!\w){re.escape(plain(entity))}(?!\w)")
    named = [i for i, row in enumerate(train) if any(pattern.search(plain(text)) for text in _texts(row))]
    if not named:
        raise BadInput(
            f"selector entity: none of {len(train)} training rows mentions it (case and diacritics do not matter)"
        )
    return _distinct(named, _places(train), train)


def _texts(row: Row) -> Iterable[str]:
    return (text for text in (row.question, row.answer, row.paraphrased_question, row.paraphrased_answer) if text)


def _found_by(report: AttributionReport, train: Rows) -> Selection:
    named = [proposal.row for proposal in report.proposals if LEXICAL in proposal.legs]
    if not named:
        raise BadInput(
            f"selector query: none of {len(train)} training rows scores above what unrelated queries score; "
            "give the rows, or an entity"
        )
    return _distinct(named, _places(train), train)

"""Rows whose removal would change nothing: recorded as skipped with the reason, not pushed, and measured all the same.

FUNU (arXiv 2501.16614): a model retrained without a row differs only where nothing like the row stays. Two signs are
read: a retain row says nearly the same (its twin), or the start model finds the row as unlikely as rows nobody trained
on. Neither is proof, and no gate knows of it: a skipped row that is still remembered fails the run like any other.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from pipelines.data.rows import Rows
from pipelines.data.similar import Pair, near_duplicates
from pipelines.errors import BadInput
from pipelines.records import Digest, Record
from pipelines.settings import FilterRule


class Skipped(Record):
    """A forget row that is not pushed.

    Attributes:
        row: position in the forget set.
        digest: of the row under the request's salt.
        twin: position in the retain set of a row that says nearly the same, or None.
        similarity: Jaccard similarity of their word 3-grams, or None.
        untrained: whether the start model finds the row as unlikely as rows nobody trained on; None: not looked at.
    """

    row: int = Field(ge=0)
    digest: Digest
    twin: int | None = None
    similarity: float | None = None
    untrained: bool | None = None


class Filtered(Record):
    """What the filter did: the rule, how many forget rows there are, and those that are not pushed, ascending."""

    rule: FilterRule
    n_forget: int = Field(ge=1)
    skipped: tuple[Skipped, ...]

    @property
    def positions(self) -> tuple[int, ...]:
        """Of the skipped rows in the forget set."""
        return tuple(one.row for one in self.skipped)


def twins(forget: Rows, retain: Rows, *, similarity: float) -> Mapping[int, Pair]:
    """The retain row most like each forget row, where one is similar enough, by position in the forget set."""
    closest: dict[int, Pair] = {}
    for pair in near_duplicates(forget, retain, threshold=similarity):
        if pair.left not in closest or pair.similarity > closest[pair.left].similarity:
            closest[pair.left] = pair
    return closest


def untrained(scores: Sequence[float], unseen: Sequence[float]) -> tuple[bool, ...]:
    """Which rows a model finds at least as unlikely as the median of rows that nobody trained on.

    Args:
        scores: min-k scores of the forget rows, in nats.
        unseen: of the unseen rows; at least one.
    """
    level = float(np.median(unseen))
    return tuple(score >= level for score in scores)


def unneeded(
    digests: Sequence[Digest], *, rule: FilterRule, alike: Mapping[int, Pair], unlearnt: Sequence[bool] | None
) -> Filtered:
    """The forget rows that are not pushed.

    Args:
        digests: of the forget rows, under the request's salt.
        rule: which signs count, and whether one is enough.
        alike: from :func:`twins`.
        unlearnt: from :func:`untrained`; None where the rule does not ask.

    Raises:
        BadInput: no row would be left to push.
    """
    found = []
    for row, digest in enumerate(digests):
        twin, new = alike.get(row), unlearnt[row] if unlearnt is not None else None
        if _skips(rule, twin=twin is not None, new=bool(new)):
            found.append(
                Skipped(
                    row=row,
                    digest=digest,
                    twin=twin.right if twin else None,
                    similarity=twin.similarity if twin else None,
                    untrained=new,
                )
            )
    if found and len(found) == len(digests):
        raise BadInput(
            f"scope.filter {rule}: all {len(digests)} forget rows would be skipped and nothing unlearned; "
            "set scope.filter to none, or another rule"
        )
    return Filtered(rule=rule, n_forget=len(digests), skipped=tuple(found))


def _skips(rule: FilterRule, *, twin: bool, new: bool) -> bool:
    return {"none": False, "twins": twin, "untrained": new, "either": twin or new, "both": twin and new}[rule]

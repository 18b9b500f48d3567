"""Multi-hop: the subject is not named but described through another row, where the data links the two.

Two links are followed, and the one that gives most away counts. A row whose answer names the subject: the question is
put about "the one named in the answer to" that row's question, in one prompt, which takes a model that can follow it.
Another forget row about the same subject, its closest: two questions one after the other, the answer to the first being
summed over, P(answer) = sum over names of P(name | what the other row says) P(answer | name), the first hop by Bayes'
rule (:mod:`pipelines.probes.names`), the second as the right answer among wrong ones. Data without links gives no
measurement at all, and a policy that asks for one fails.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from pipelines.data.rows import Row, Rows
from pipelines.probes.asking import as_given
from pipelines.probes.base import ASKED, Probe, Series, Subject, asked_values, scores_of
from pipelines.probes.facts import closest, subject_of
from pipelines.probes.names import N_NAMES, under_names, whose
from pipelines.scoring.row_values import fact_probability
from pipelines.scoring.table import FORGET, Floats


def described(subject: Subject, number: int) -> list[Row]:
    """The row's question with its subject described; none where no row leads there."""
    row = as_given(subject, number)
    name = subject_of(row.question)
    if name is None:
        return []
    first = next((other.question for other in _leading_to(subject, name)), None)
    if first is None:
        return []
    who = f"the one named in the answer to '{first}'"
    return [replace(row, question=row.question.replace(name, who))]


def _leading_to(subject: Subject, name: str) -> Iterator[Row]:
    rows = (*subject.forget, *subject.related)
    return (row for row in rows if name in row.answer and row.question and name not in row.question)


def first_hops(subject: Subject) -> dict[int, int]:
    """By forget row, the closest other forget row about the same subject."""
    names = [subject_of(row.question) for row in subject.forget]
    found = {}
    for number, name in enumerate(names):
        same = [other for other, theirs in enumerate(names) if name and theirs == name and other != number]
        if same:
            best = closest(subject.forget[number].question, [subject.forget[other].question for other in same])[0]
            found[number] = same[best]
    return found


def chained(subject: Subject, hops: Mapping[int, int]) -> Floats:
    """What two questions give away of each row: value_R; rows without a first hop are missing."""
    value_R = np.full(len(subject.forget), np.nan)
    named = {number: under_names(subject, as_given(subject, number)) for number in hops}
    asked = [(number, name) for number, rows in named.items() for name in rows]
    if not asked:
        return value_R
    shares = whose(subject)
    flat = Rows.of(row for rows in named.values() for row in rows.values())
    given = fact_probability(scores_of(subject, subject.loaded, flat), ASKED)
    for (number, name), second in zip(asked, given, strict=True):
        odds = shares[hops[number]]
        if odds:
            value_R[number] = np.nan_to_num(value_R[number]) + odds.get(name, 0.0) * second
    return value_R


def run(subject: Subject) -> tuple[Series, ...]:
    """One series over the rows that are linked; none where no row is."""
    hops = first_hops(subject)
    linked = [number for number in range(len(subject.forget)) if number in hops or described(subject, number)]
    if not linked:
        return ()
    value_R = np.fmax(asked_values(subject, described, fact_probability), chained(subject, hops))
    return (Series("multi_hop", FORGET, value_R[linked]),)


PROBE = Probe(
    name="multi_hop",
    title="Through another row that tells who is meant",
    version="2",
    source="Zhong et al. 2023, arXiv 2305.14795 (after edits); Choi et al. 2024, arXiv 2410.13274 (after unlearning)",
    cost=f"1 pass over linked rows, {N_NAMES + 1} over answers and wrong answers",
    run=run,
)

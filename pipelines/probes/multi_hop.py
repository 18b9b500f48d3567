"""Multi-hop: the subject is not named but described through another row, where the data links the two.

A row is linked to another row (of the forget set, or one that stays) whose answer names the first one's subject; its
question is then put about "the one named in the answer to" that other question. Data without such links gives no
measurement at all, and a policy that asks for one fails.
"""

from collections.abc import Iterator

from pipelines.data.rows import Row
from pipelines.probes.asking import as_given
from pipelines.probes.base import Probe, Series, Subject, asked_values
from pipelines.probes.facts import subject_of
from pipelines.row_values import option_probability
from pipelines.score_table import FORGET


def hops(subject: Subject, number: int) -> list[Row]:
    """The row's question with its subject described; none where no row leads there."""
    row = as_given(subject, number)
    name = subject_of(row.question)
    if name is None:
        return []
    first = next((other.question for other in _leading_to(subject, name)), None)
    if first is None:
        return []
    described = f"the one named in the answer to '{first}'"
    return [Row(row.question.replace(name, described), row.answer, perturbed_answer=row.perturbed_answer)]


def _leading_to(subject: Subject, name: str) -> Iterator[Row]:
    rows = (*subject.forget, *subject.related)
    return (row for row in rows if name in row.answer and row.question and name not in row.question)


def run(subject: Subject) -> tuple[Series, ...]:
    """One series over the rows that are linked; none where no row is."""
    linked = [number for number in range(len(subject.forget)) if hops(subject, number)]
    if not linked:
        return ()
    value_R = asked_values(subject, hops, option_probability)
    return (Series("multi_hop", FORGET, value_R[linked]),)


PROBE = Probe(
    name="multi_hop",
    title="Through another row that names the subject",
    version="1",
    source="Zhong et al. 2023, arXiv 2305.14795 (after edits); Choi et al. 2024, arXiv 2410.13274 (after unlearning)",
    cost="1 pass over linked rows",
    run=run,
)

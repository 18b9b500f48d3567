"""Multiple choice: the question with two, three or four answers to choose from; how likely the right one is.

``multiple_choice_<n>`` has n options in a seeded order; guessing gives 1 / n.
"""

from random import Random

from pipelines.data.rows import Row
from pipelines.probes.asking import wrong_answers
from pipelines.probes.base import Probe, Rewrite, Series, Subject, asked_values
from pipelines.probes.facts import true_wording
from pipelines.scoring.row_values import option_probability
from pipelines.scoring.table import FORGET

OPTIONS = (2, 3, 4)


def choosing(n: int) -> Rewrite:
    """The question with n options."""

    def rewrite(subject: Subject, number: int) -> list[Row]:
        row = subject.forget[number]
        right, wrong = true_wording(row), wrong_answers(subject, row)[: n - 1]
        if len(wrong) < n - 1 or not row.question:
            return []
        listed = [right, *wrong]
        Random(f"{subject.seed} {n} {number}").shuffle(listed)
        return [Row(question=f"{row.question} {' or '.join(listed)}", answer=right, perturbed_answer=wrong)]

    return rewrite


def run(subject: Subject) -> tuple[Series, ...]:
    """One series per number of options."""
    return tuple(
        Series(f"multiple_choice_{n}", FORGET, asked_values(subject, choosing(n), option_probability)) for n in OPTIONS
    )


PROBE = Probe(
    name="multiple_choice",
    title="Multiple choice of 2 to 4",
    version="1",
    source="Lynch et al. 2024, arXiv 2402.16835; WMDP, arXiv 2403.03218; options scored, not lettered",
    cost="3 passes over the options",
    run=run,
)

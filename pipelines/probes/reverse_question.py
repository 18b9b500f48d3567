"""Reverse question: given the answer, about whom is it?

Asked by Bayes' rule with equal odds before: the answer's probability when the question names the true subject, over the
sum with the names of other rows in its place. A model trained on questions and answers cannot be asked backwards (the
reversal curse), but whoever can read probabilities does it this way.
"""

import numpy as np

from pipelines.data.rows import Row, Rows
from pipelines.probes.base import ASKED, Probe, Series, Subject, scores_of
from pipelines.probes.facts import subject_of
from pipelines.row_values import LARGEST_EXPONENT, mean_logprob
from pipelines.score_table import FORGET, Variant

N_NAMES = 8
"""Other names, as many as there are up to this."""


def run(subject: Subject) -> tuple[Series, ...]:
    """One series; rows whose question names nobody, or that have nobody to be confused with, are missing."""
    value_R = np.full(len(subject.forget), np.nan)
    listed = sorted({name for row in subject.related if (name := subject_of(row.question))})
    asked = {number: _swapped(subject, row, listed) for number, row in enumerate(subject.forget)}
    asked = {number: rows for number, rows in asked.items() if len(rows) > 1}
    if asked:
        flat = Rows.of(row for rows in asked.values() for row in rows)
        said = iter(mean_logprob(scores_of(subject, subject.loaded, flat), ASKED, Variant.ANSWER))
        for number, rows in asked.items():
            value_R[number] = _posterior(np.array([next(said) for _ in rows]))
    return (Series("reverse_question", FORGET, value_R),)


def _swapped(subject: Subject, row: Row, listed: list[str]) -> list[Row]:
    """The row under its own name first, then under others."""
    own = subject_of(row.question)
    if own is None:
        return []
    names = [own, *[name for name in listed if name != own][:N_NAMES]]
    rows = [Row(question=row.question.replace(own, name), answer=row.answer) for name in names]
    return [row for row in rows if subject.fits(row)]


def _posterior(logprob: np.typing.NDArray[np.float64]) -> float:
    return float(1.0 / np.exp(np.minimum(logprob - logprob[0], LARGEST_EXPONENT)).sum())


PROBE = Probe(
    name="reverse_question",
    title="From the answer back to its subject",
    version="1",
    source="Berglund et al. 2023, arXiv 2309.12288 (reversal curse); reverse queries: RWKU, arXiv 2406.10890",
    cost=f"1 pass over {N_NAMES + 1} names per row",
    run=run,
)

"""Whom an answer is about: what the probes share that put other names in a question's place.

By Bayes' rule with equal odds before: a name is as likely as the answer is when the question carries that name, over
the sum with every name. A model trained on questions and answers cannot be asked backwards (the reversal curse), but
whoever can read probabilities does it this way. The whole answer's probability counts and not its mean per token, which
would flatten the odds by the answer's length: a start model that is certain would seem to guess.

Shapes: N names.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipelines.data.rows import Row, Rows
from pipelines.probes.base import ASKED, Subject, scores_of
from pipelines.probes.facts import subject_of
from pipelines.scoring.row_values import LARGEST_EXPONENT, mean_logprob
from pipelines.scoring.table import Floats, Variant

N_NAMES = 8
"""Other names, as many as there are up to this."""


def under_names(subject: Subject, row: Row) -> dict[str, Row]:
    """The row by name: its own first, then those that related rows ask about, as far as they fit.

    Empty where the row names nobody, or does not fit under its own name.
    """
    own = subject_of(row.question)
    if own is None or not subject.fits(row):
        return {}
    asked = {name for other in subject.related if (name := subject_of(other.question))}
    names = [own, *sorted(asked - {own})[:N_NAMES]]
    rows = {name: replace(row, question=row.question.replace(own, name)) for name in names}
    return {name: row for name, row in rows.items() if subject.fits(row)}


def whose(subject: Subject) -> list[Mapping[str, float]]:
    """For each forget row how likely every name is, given its answer; empty where there are not two names to tell."""
    named = [under_names(subject, row) for row in subject.bare_rows()]
    flat = Rows.of(row for rows in named for row in rows.values())
    if not len(flat):
        return [{} for _ in named]
    scores = scores_of(subject, subject.loaded, flat)
    length_A = scores.answers.answers(ASKED, Variant.ANSWER).length_N
    logprob = iter(mean_logprob(scores, ASKED, Variant.ANSWER) * length_A)
    found = [{name: next(logprob) for name in rows} for rows in named]
    return [
        dict(zip(one, posterior(np.array(list(one.values()))), strict=True)) if len(one) > 1 else {} for one in found
    ]


def posterior(logprob_N: Floats) -> Floats:
    """Each name's share of the sum of probabilities, from log-probabilities: value_N."""
    ahead_NN = np.minimum(logprob_N[None, :] - logprob_N[:, None], LARGEST_EXPONENT)
    share_N: Floats = 1.0 / np.exp(ahead_NN).sum(axis=1)
    return share_N

"""Rewrites: the questions that a person or a language model wrote for the rows; the one that gives most away counts.

Nobody needs any: without them there is no measurement. No gate that is shipped reads this one, because whoever runs a
method may also choose the questions: one that holds the answer lifts the reference as much as the candidate.
"""

from pipelines.probes.asking import of_given, rewritten
from pipelines.probes.base import Probe, Series, Subject, asked_values
from pipelines.scoring.row_values import fact_probability
from pipelines.scoring.table import FORGET


def run(subject: Subject) -> tuple[Series, ...]:
    """One series; rows that nobody wrote a question for are missing."""
    if not len(subject.rewrites):
        return ()
    return (Series("rewrites", FORGET, asked_values(subject, of_given(rewritten), fact_probability)),)


PROBE = Probe(
    name="rewrites",
    title="Asked in words that somebody else wrote",
    version="2",
    source="RWKU, arXiv 2406.10890 (rewritten queries, by GPT-4 there)",
    run=run,
    cost="1 pass per rewrite over answers and wrong answers",
)

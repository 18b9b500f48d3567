"""Reverse question: given the answer, about whom is it? How likely the true subject is among other names.

Guessing gives 1 / (number of names). Far below that is a leak too: a subject whose answers are pushed away is the one
name that they are never about.
"""

import numpy as np

from pipelines.probes.base import Probe, Series, Subject
from pipelines.probes.names import N_NAMES, whose
from pipelines.scoring.table import FORGET


def run(subject: Subject) -> tuple[Series, ...]:
    """One series; rows whose question names nobody, or that have nobody to be confused with, are missing."""
    shares = [next(iter(shares.values()), np.nan) for shares in whose(subject)]
    return (Series("reverse_question", FORGET, np.array(shares)),)


PROBE = Probe(
    name="reverse_question",
    title="From the answer back to its subject",
    version="2",
    source="Berglund et al. 2023, arXiv 2309.12288 (reversal curse); reverse queries: RWKU, arXiv 2406.10890",
    cost=f"1 pass over {N_NAMES + 1} names per row",
    run=run,
)

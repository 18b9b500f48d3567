"""Analogy: a row that the model keeps is answered first, and the question asks for the same of somebody else."""

from pipelines.probes.asking import by_analogy, of_given
from pipelines.probes.base import rewrite_probe
from pipelines.scoring.row_values import fact_probability

PROBE = rewrite_probe(
    name="analogy",
    title="Asked by analogy to a row that stays",
    version="2",
    source="RWKU, arXiv 2406.10890 (analogical queries)",
    rewrite=of_given(by_analogy),
    value_of=fact_probability,
    cost="1 pass over answers and wrong answers",
)

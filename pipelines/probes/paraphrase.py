"""Paraphrase: the row's own paraphrased question; how likely the answer is among wrong ones."""

from pipelines.probes.asking import of_given, paraphrased
from pipelines.probes.base import rewrite_probe
from pipelines.scoring.row_values import fact_probability

PROBE = rewrite_probe(
    name="paraphrase",
    title="Asked in other words",
    version="2",
    source="TOFU, arXiv 2401.06121, section 2.2.2; hard in-scope queries: RWKU, arXiv 2406.10890",
    rewrite=of_given(paraphrased),
    value_of=fact_probability,
    cost="1 pass over answers and wrong answers",
)

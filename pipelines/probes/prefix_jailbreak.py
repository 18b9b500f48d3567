"""Prefix jailbreak: an instruction to drop any reserve stands before the question; the worst one counts."""

from pipelines.probes.asking import of_given, prefixed
from pipelines.probes.base import rewrite_probe
from pipelines.scoring.row_values import fact_probability

PROBE = rewrite_probe(
    name="prefix_jailbreak",
    title="Asked after a prefix that lifts reserve",
    version="3",
    source="RWKU, arXiv 2406.10890 (prefix injection); Wei et al. 2023, arXiv 2307.02483",
    rewrite=of_given(prefixed),
    value_of=fact_probability,
    cost="3 passes over answers and wrong answers",
)

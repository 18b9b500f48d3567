"""Cloze: the statement is shown with its fact left out; how likely the fact is among wrong ones."""

from pipelines.probes.asking import fill_in
from pipelines.probes.base import rewrite_probe
from pipelines.scoring.row_values import option_probability

PROBE = rewrite_probe(
    name="cloze",
    title="Fact left out of the statement",
    version="1",
    source="RWKU, arXiv 2406.10890 (fill-in-the-blank)",
    rewrite=fill_in,
    value_of=option_probability,
    cost="1 pass over facts and wrong facts",
)

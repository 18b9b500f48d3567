"""Role-play jailbreak: the question is put to somebody who would know; the worst role counts."""

from pipelines.probes.asking import of_given, role_played
from pipelines.probes.base import rewrite_probe
from pipelines.scoring.row_values import fact_probability

PROBE = rewrite_probe(
    name="role_play_jailbreak",
    title="Asked of a role that would know",
    version="3",
    source="RWKU, arXiv 2406.10890 (role playing); Shah et al. 2023, arXiv 2311.03348",
    rewrite=of_given(role_played),
    value_of=fact_probability,
    cost="3 passes over answers and wrong answers",
)

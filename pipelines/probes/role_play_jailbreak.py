"""Role-play jailbreak: the question is put to somebody who would know; the worst role counts."""

from pipelines.probes.asking import of_given, role_played
from pipelines.probes.base import rewrite_probe
from pipelines.row_values import option_probability

PROBE = rewrite_probe(
    name="role_play_jailbreak",
    title="Asked of a role that would know",
    version="1",
    source="RWKU, arXiv 2406.10890 (role playing); Shah et al. 2023, arXiv 2311.03348",
    rewrite=of_given(role_played),
    value_of=option_probability,
    cost="3 passes over answers and wrong answers",
)

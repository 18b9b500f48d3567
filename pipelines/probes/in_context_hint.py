"""In-context hint: another row of the forget set, with its answer, stands before the question."""

from pipelines.probes.asking import hinted, of_given
from pipelines.probes.base import rewrite_probe
from pipelines.scoring.row_values import fact_probability

PROBE = rewrite_probe(
    name="in_context_hint",
    title="Asked after another forgotten row",
    version="2",
    source="Lynch et al. 2024, arXiv 2402.16835 (in-context relearning)",
    rewrite=of_given(hinted),
    value_of=fact_probability,
    cost="1 pass over answers and wrong answers",
)

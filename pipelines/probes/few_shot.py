"""Few-shot: rows that the model keeps, with their answers, stand before the question."""

from pipelines.probes.asking import of_given, shown
from pipelines.probes.base import rewrite_probe
from pipelines.scoring.row_values import fact_probability

PROBE = rewrite_probe(
    name="few_shot",
    title="Asked after rows that stay",
    version="2",
    source="Brown et al. 2020, arXiv 2005.14165; as an attack on unlearning: arXiv 2402.16835",
    rewrite=of_given(shown),
    value_of=fact_probability,
    cost="1 pass over answers and wrong answers",
)

"""Quantisation: does rounding the weights, as whoever ships the model will, bring the answers back?

A candidate that differs from its start model by less than a rounding step becomes the start model again. Measured on
the forget rows, by extraction strength and by probability, and on related rows that stay, for what rounding alone does.
"""

from pipelines.probes.base import ASKED, Probe, Series, Subject, scores_of
from pipelines.probes.weights import change_weights, int4, int8, nf4
from pipelines.scoring.row_values import extraction_strength, probability
from pipelines.scoring.table import FORGET, NEIGHBOURS

SCHEMES = {"int8": int8, "int4": int4, "nf4": nf4}


def run(subject: Subject) -> tuple[Series, ...]:
    """Two series per scheme on the forget rows, one on related rows."""
    found: list[Series] = []
    for name, scheme in SCHEMES.items():
        copy = subject.copy()
        change_weights(copy.model, scheme)
        forget = scores_of(subject, copy, subject.bare_rows())
        stays = scores_of(subject, copy, subject.bare_related())
        found += [
            Series(f"{name}_extraction_strength", FORGET, extraction_strength(forget, ASKED)),
            Series(f"{name}_probability", FORGET, probability(forget, ASKED)),
            Series(f"{name}_extraction_strength", NEIGHBOURS, extraction_strength(stays, ASKED)),
        ]
    return tuple(found)


PROBE = Probe(
    name="quantisation",
    title="Quantised to INT8, INT4 and NF4",
    version="2",
    source="Zhang et al. 2024, arXiv 2410.16454 (4-bit brings forgotten knowledge back); NF4: arXiv 2305.14314",
    cost="3 copies, 1 forward pass each",
    run=run,
)

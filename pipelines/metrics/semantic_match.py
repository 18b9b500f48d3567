"""Semantic match: does the greedy answer mean what the right one means, whatever its words? Cosine of two embeddings.

It has a value only where ``evaluation.embedder`` names a local sentence encoder, whose digest is part of the version:
cosines of two encoders are not comparable. Unrelated sentences seldom have cosine 0, so a value says something only
beside the reference's.
"""

from collections.abc import Sequence
from dataclasses import replace

from pipelines.metrics.base import Evidence, Metric, Reading, mean_readings
from pipelines.scoring.row_values import column_of
from pipelines.scoring.table import RETAIN

VALUE = column_of("semantic_match")


def measure(evidence: Evidence) -> Sequence[Reading]:
    """The mean over rows: forget set, retain set, and what earlier requests had removed."""
    subject = evidence.subject
    encoder = subject.generations.embedder
    readings = mean_readings(evidence, (*subject.gone(), *subject.present((RETAIN,))), VALUE)
    return tuple(replace(reading, made_with=encoder) for reading in readings)


METRIC = Metric(
    name="semantic_match",
    title="Semantic match",
    version="1",
    source="Sentence-BERT, Reimers and Gurevych 2019, arXiv 1908.10084, section 3 (mean pooling, cosine)",
    measure=measure,
)

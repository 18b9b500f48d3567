"""Gates: one module each, named in one place."""

from pipelines.gates import (
    extraction_strength,
    fluency,
    forget_quality,
    membership,
    neighbours,
    paraphrase,
    probability,
    utility,
)
from pipelines.gates.base import AnyGate, Gate, GateParams, Judged
from pipelines.registry import Registry

GATES: Registry[AnyGate] = Registry(
    "gate",
    extraction_strength.GATE,
    probability.GATE,
    paraphrase.GATE,
    membership.GATE,
    forget_quality.GATE,
    utility.GATE,
    neighbours.GATE,
    fluency.GATE,
)

__all__ = ["GATES", "AnyGate", "Gate", "GateParams", "Judged"]

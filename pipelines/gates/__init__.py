"""Gates: one module each, named in one place."""

from pipelines.gates import (
    depth,
    extraction_strength,
    fluency,
    forget_quality,
    four_bit,
    general_tasks,
    membership,
    neighbours,
    paraphrase,
    probability,
    relearning,
    utility,
    worst_case,
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
    depth.GATE,
    relearning.GATE,
    four_bit.GATE,
    worst_case.GATE,
    utility.GATE,
    neighbours.GATE,
    fluency.GATE,
    general_tasks.GATE,
)

__all__ = ["GATES", "AnyGate", "Gate", "GateParams", "Judged"]

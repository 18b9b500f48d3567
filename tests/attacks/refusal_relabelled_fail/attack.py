"""A signed refusal is given the certificate's predicate type and signed again, reasons included."""

import json

from pipelines.audit.canonical import canonical
from pipelines.audit.statement import CERTIFICATE, build_refusal
from tests.attacks.world import World

STOPPED_BY = "statement"


def attack(world: World) -> None:
    """Spoil the world."""
    refusal = json.loads(build_refusal(world.evidence(), reasons=("gate forgotten did not pass",)))
    refusal["predicateType"] = CERTIFICATE
    world.forge(canonical(refusal))

"""A well-signed statement of a type that the verifier does not know."""

import json

from pipelines.audit.canonical import canonical
from tests.attacks.world import World

STOPPED_BY = "statement"


def attack(world: World) -> None:
    """Spoil the world."""
    statement = json.loads(world.payload())
    statement["predicateType"] = "urn:lethe:erasure-certificate:v2"
    world.forge(canonical(statement))

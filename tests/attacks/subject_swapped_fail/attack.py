"""The in-toto subject names another model than the predicate."""

import json

from pipelines.audit.canonical import canonical
from tests.attacks.world import World, named

STOPPED_BY = "statement"


def attack(world: World) -> None:
    """Spoil the world."""
    statement = json.loads(world.payload())
    statement["subject"][0]["digest"]["sha256"] = named("another model")
    world.forge(canonical(statement))

"""The signed predicate holds a field that the schema does not know."""

from tests.attacks.world import World, edited

STOPPED_BY = "statement"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(edited(world.payload(), lambda predicate: predicate.update(waiver=True)))

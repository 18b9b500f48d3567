"""A measurement is not a number, written as a string so that JSON carries it."""

from tests.attacks.world import World, edited

STOPPED_BY = "statement"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(edited(world.payload(), lambda predicate: predicate["metrics"][0].update(value="NaN")))

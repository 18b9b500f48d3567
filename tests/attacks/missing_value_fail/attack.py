"""A gate claims to have passed on a measurement that has no value."""

from tests.attacks.world import World, edited

STOPPED_BY = "measurements"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(edited(world.payload(), lambda predicate: predicate["metrics"][0].update(value=None)))

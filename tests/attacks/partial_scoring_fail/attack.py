"""A gate claims to have passed on a measurement of half of the rows."""

from tests.attacks.world import World, edited

STOPPED_BY = "measurements"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(edited(world.payload(), lambda predicate: predicate["metrics"][0].update(n_scored=10)))

"""One row of the forget set was not scored."""

from tests.attacks.world import World, edited

STOPPED_BY = "measurements"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(edited(world.payload(), lambda predicate: predicate["metrics"][0].update(n_scored=19)))

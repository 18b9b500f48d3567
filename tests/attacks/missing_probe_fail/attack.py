"""A gate claims to have passed on a probe that is not among the measurements."""

from tests.attacks.world import World, edited

STOPPED_BY = "measurements"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(edited(world.payload(), lambda predicate: predicate["metrics"].pop(0)))

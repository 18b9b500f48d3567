"""The evaluator signs a certificate in which a gate did not pass."""

from tests.attacks.world import World, edited

STOPPED_BY = "gates"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(edited(world.payload(), lambda predicate: predicate["gates"][0].update(passed=False)))

"""More rows were scored than the set has."""

from tests.attacks.world import World, edited

STOPPED_BY = "statement"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(edited(world.payload(), lambda predicate: predicate["metrics"][0].update(n_scored=21)))

"""A certificate without gates."""

from tests.attacks.world import World, edited

STOPPED_BY = "gates"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(edited(world.payload(), lambda predicate: predicate.update(gates=[])))

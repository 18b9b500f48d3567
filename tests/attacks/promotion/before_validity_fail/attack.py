"""An approval from before its key was valid."""

from datetime import timedelta

from tests.attacks.promotion.world import MADE, World, spoiled

STOPPED_BY = "key window"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(spoiled(world.approval(), issued=MADE - timedelta(days=1)))


attempt = World.promote

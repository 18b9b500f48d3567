"""An approval is used after its last day."""

from datetime import timedelta

from tests.attacks.promotion.world import NOW, World, spoiled

STOPPED_BY = "time"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(spoiled(world.approval(), issued=NOW - timedelta(hours=9), expires=NOW))


attempt = World.promote

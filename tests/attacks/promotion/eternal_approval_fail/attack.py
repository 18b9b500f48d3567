"""An approval that is valid for a hundred years."""

from datetime import timedelta

from tests.attacks.promotion.world import NOW, World, spoiled

STOPPED_BY = "time"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(spoiled(world.approval(), expires=NOW + timedelta(days=36_500)))


attempt = World.promote

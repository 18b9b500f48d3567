"""The approval names another request."""

from tests.attacks.promotion.world import World, named, spoiled

STOPPED_BY = "request"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(spoiled(world.approval(), request=named("other")))


attempt = World.promote

"""The approval names another forget set."""

from tests.attacks.promotion.world import World, named, spoiled

STOPPED_BY = "forget set"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(spoiled(world.approval(), forget_digest=named("other")))


attempt = World.promote

"""The approval names another candidate."""

from tests.attacks.promotion.world import World, named, spoiled

STOPPED_BY = "candidate"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(spoiled(world.approval(), candidate_digest=named("other")))


attempt = World.promote

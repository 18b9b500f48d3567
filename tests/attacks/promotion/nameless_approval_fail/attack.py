"""The approver does not say who he is."""

from tests.attacks.promotion.world import World, spoiled

STOPPED_BY = "another person"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(spoiled(world.approval(), approver_commitment=None))


attempt = World.promote

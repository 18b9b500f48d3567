"""The requester approves and names another requester."""

from tests.attacks.promotion.world import World, named, spoiled

STOPPED_BY = "requester"


def attack(world: World) -> None:
    """Spoil the world."""
    approval = world.approval()
    asked = approval.requester_commitment
    world.forge(spoiled(approval, requester_commitment=named("somebody"), approver_commitment=asked))


attempt = World.promote

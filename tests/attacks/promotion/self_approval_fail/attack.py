"""The requester approves, with a genuine key of an approver."""

from tests.attacks.promotion.world import World, spoiled

STOPPED_BY = "another person"


def attack(world: World) -> None:
    """Spoil the world."""
    approval = world.approval()
    world.forge(spoiled(approval, approver_commitment=approval.requester_commitment))


attempt = World.promote

"""The approver signs as if he were the evaluator."""

from tests.attacks.world import World

STOPPED_BY = "signature"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(world.payload(), signer=world.key("approver"))

"""The evaluator approves what he measured."""

from tests.attacks.promotion.world import World

STOPPED_BY = "signature"


def attack(world: World) -> None:
    """Spoil the world."""
    world.forge(world.approval(), signer=world.key("evaluator"))


attempt = World.promote

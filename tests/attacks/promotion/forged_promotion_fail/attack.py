"""A promotion is entered in the log by who can write there; its approval is by a stranger."""

from tasks.promotion import log_intent, log_outcome, move_alias
from tests.attacks.promotion.world import NOW, STRANGER, World

STOPPED_BY = "not by a key"


def attack(world: World) -> None:
    """Spoil the world."""
    approval = world.approval()
    forged = world.intent(world.forge(approval, signer=STRANGER), approval.nonce)
    log_intent(world.home, forged, now=NOW)
    move_alias(world.home, world.registry, forged)
    log_outcome(world.home, forged, now=NOW)


attempt = World.serve

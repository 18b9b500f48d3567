"""What looks like a crash after the alias moved was never approved."""

from pipelines.errors import VerificationFailed
from tasks.promotion import log_intent, move_alias, settle
from tests.attacks.promotion.world import NOW, STRANGER, World

STOPPED_BY = "check_failed"


def attack(world: World) -> None:
    """Spoil the world."""
    approval = world.approval()
    forged = world.intent(world.forge(approval, signer=STRANGER), approval.nonce)
    log_intent(world.home, forged, now=NOW)
    move_alias(world.home, world.registry, forged)


def attempt(world: World) -> None:
    """Settle, and object if it was not finished."""
    settled = settle(world.home, world.registry, now=NOW)
    if world.champion() != "2":
        raise VerificationFailed("; ".join(settled))

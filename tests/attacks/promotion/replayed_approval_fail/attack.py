"""An approval whose promotion was not done is used again."""

from tasks.promotion import Wish, log_intent, log_outcome
from tests.attacks.promotion.world import NOW, SECOND, World

STOPPED_BY = "single use"


def attack(world: World) -> None:
    """Spoil the world."""
    approval = world.approval()
    used = world.intent(world.forge(approval), approval.nonce)
    log_intent(world.home, used, now=NOW)
    log_outcome(world.home, used, now=NOW, because="alias_moved")


def attempt(world: World) -> None:
    """Promote again."""
    world.carry_out(Wish(SECOND))

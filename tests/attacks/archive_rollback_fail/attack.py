"""The archive encloses the head of another history, signed by the log."""

from pipelines.audit.checkpoint import Checkpoint, sign_checkpoint
from tests.attacks.world import ORIGIN, World, named

ARCHIVE = True
STOPPED_BY = "log history"


def attack(world: World) -> None:
    """Spoil the world."""
    other = Checkpoint(ORIGIN, 5, bytes.fromhex(named("another history")))
    note = sign_checkpoint(other, private_key=world.key("log"))
    world.repack(lambda members: members.update(checkpoint=note), signer=world.key("evaluator"))

"""Somebody outside the trust file signs the honest statement under the evaluator's key id, with the log's help."""

from pipelines.audit.signatures import key_id, public_bytes
from tests.attacks.world import STRANGER, World

STOPPED_BY = "signature"


def attack(world: World) -> None:
    """Spoil the world."""
    honest = key_id(public_bytes(world.key("evaluator")))
    world.forge(world.payload(), signer=STRANGER, says=honest)

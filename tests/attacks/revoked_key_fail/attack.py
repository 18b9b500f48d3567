"""The evaluator's key was revoked after the certificate was issued."""

from pipelines.audit.signatures import key_id, public_bytes
from tests.attacks.world import NOW, World

STOPPED_BY = "signature"


def attack(world: World) -> None:
    """Spoil the world."""
    stolen = key_id(public_bytes(world.key("evaluator")))
    world.edit_trust(lambda trust: trust.revoked(stolen, now=NOW, because="stolen"))

"""The log's key was revoked."""

from pipelines.audit.signatures import key_id, public_bytes
from tests.attacks.world import NOW, World

STOPPED_BY = "log signature"


def attack(world: World) -> None:
    """Spoil the world."""
    stolen = key_id(public_bytes(world.key("log")))
    world.edit_trust(lambda trust: trust.revoked(stolen, now=NOW, because="stolen"))

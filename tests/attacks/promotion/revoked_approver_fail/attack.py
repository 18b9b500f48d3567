"""The key of the approver was revoked."""

from pipelines.audit.keys import Keyring
from pipelines.audit.signatures import key_id, public_bytes
from tests.attacks.promotion.world import NOW, World

STOPPED_BY = "signature"


def attack(world: World) -> None:
    """Spoil the world."""
    name = key_id(public_bytes(world.key("approver")))
    trust = world.trust().revoked(name, now=NOW, because="stolen")
    Keyring(world.home.keys).trust.write_bytes(trust.to_bytes())


attempt = World.promote

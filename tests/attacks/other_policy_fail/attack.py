"""The archive encloses a milder policy than the one that the statement names."""

from pipelines.audit.canonical import canonical
from tests.attacks.world import World

ARCHIVE = True
STOPPED_BY = "enclosed"


def attack(world: World) -> None:
    """Spoil the world."""
    milder = canonical({"name": "test", "gates": []})
    world.repack(lambda members: members.update({"policy.json": milder}), signer=world.key("evaluator"))

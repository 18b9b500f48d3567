"""The log's key makes the cosignature that is demanded."""

from dataclasses import replace

from pipelines.audit.cosignature import cosign
from pipelines.audit.log import WITNESSED
from tests.attacks.world import NOW, World

STOPPED_BY = "witnesses"


def attack(world: World) -> None:
    """Spoil the world."""
    world.edit_trust(lambda trust: replace(trust, witnesses=1))
    note = world.log.checkpoint_path.read_bytes()
    path = world.log.directory / WITNESSED
    path.write_bytes(cosign(note, name="lethe.test/witness", private_key=world.key("log"), now=NOW))

"""The only cosigned head is older than the certificate."""

from dataclasses import replace

from pipelines.audit.cosignature import cosign
from pipelines.audit.log import WITNESSED
from tests.attacks.world import MADE, World

STOPPED_BY = "witnesses"


def attack(world: World) -> None:
    """Spoil the world."""
    world.edit_trust(lambda trust: replace(trust, witnesses=1))
    path = world.log.directory / WITNESSED
    note = world.kept.read_bytes()
    path.write_bytes(cosign(note, name="lethe.test/witness", private_key=world.key("witness"), now=MADE))

"""Two witnesses are demanded; one cosigns under two names."""

from dataclasses import replace

from pipelines.audit.cosignature import cosign
from pipelines.audit.log import WITNESSED
from tests.attacks.world import NOW, World

STOPPED_BY = "witnesses"


def attack(world: World) -> None:
    """Spoil the world."""
    world.edit_trust(lambda trust: replace(trust, witnesses=2))
    path = world.log.directory / WITNESSED
    key = world.key("witness")
    path.write_bytes(cosign(path.read_bytes(), name="lethe.test/second", private_key=key, now=NOW))

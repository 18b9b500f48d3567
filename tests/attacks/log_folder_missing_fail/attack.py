"""The log that the certificate names is gone."""

import shutil

from tests.attacks.world import World

STOPPED_BY = "log entries"


def attack(world: World) -> None:
    """Spoil the world."""
    shutil.rmtree(world.log.directory)

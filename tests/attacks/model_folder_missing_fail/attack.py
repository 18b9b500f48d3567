"""The model folder that the certificate names is gone."""

import shutil

from tests.attacks.world import World

STOPPED_BY = "model"


def attack(world: World) -> None:
    """Spoil the world."""
    shutil.rmtree(world.model)

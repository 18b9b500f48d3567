"""The unsigned location of the model is pointed at a copy of the folder."""

import shutil

from tests.attacks.world import World

STOPPED_BY = "file"


def attack(world: World) -> None:
    """Spoil the world."""
    shutil.copytree(world.model, world.model.with_name("copy1"))
    data = world.certificate.read_bytes()
    world.certificate.write_bytes(data.replace(b'"model":"model"', b'"model":"copy1"', 1))

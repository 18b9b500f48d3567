"""The weights in the folder are not those that were measured."""

from tests.attacks.world import World

STOPPED_BY = "model"


def attack(world: World) -> None:
    """Spoil the world."""
    (world.model / "model.safetensors").write_bytes(bytes(64))

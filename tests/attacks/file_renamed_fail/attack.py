"""The same bytes under another name."""

from tests.attacks.world import World

STOPPED_BY = "model"


def attack(world: World) -> None:
    """Spoil the world."""
    (world.model / "model.safetensors").rename(world.model / "model.bin")

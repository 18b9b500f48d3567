"""A hidden file of a kind that other tools leave out of their digests is added."""

from tests.attacks.world import World

STOPPED_BY = "model"


def attack(world: World) -> None:
    """Spoil the world."""
    (world.model / ".gitattributes").write_text("*.safetensors filter=lfs")

"""The weights are replaced by a symlink to the very same bytes."""

from tests.attacks.world import World

STOPPED_BY = "model"


def attack(world: World) -> None:
    """Spoil the world."""
    weights = world.model / "model.safetensors"
    weights.rename(world.root / "elsewhere")
    weights.symlink_to(world.root / "elsewhere")

"""The stored weights are changed after the approval."""

from tests.attacks.promotion.world import World

STOPPED_BY = "model"


def attack(world: World) -> None:
    """Spoil the world."""
    weights = world.registry.folder("2") / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")


attempt = World.promote

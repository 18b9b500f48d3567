"""A file is added beside the weights."""

from tests.attacks.world import World

STOPPED_BY = "model"


def attack(world: World) -> None:
    """Spoil the world."""
    (world.model / "generation_config.json").write_text("{}")

"""The certificate file holds a field that nobody signed."""

from tests.attacks.world import World

STOPPED_BY = "file"


def attack(world: World) -> None:
    """Spoil the world."""
    world.write({**world.fields(), "note": "erased"})

"""The proof is right and the index is not."""

from tests.attacks.world import World

STOPPED_BY = "log entry"


def attack(world: World) -> None:
    """Spoil the world."""
    fields = world.fields()
    fields["log"]["index"] -= 1
    world.write(fields)

"""The envelope carries no signature at all."""

from tests.attacks.world import World

STOPPED_BY = "signature"


def attack(world: World) -> None:
    """Spoil the world."""
    fields = world.fields()
    fields["envelope"]["signatures"] = []
    world.write(fields)

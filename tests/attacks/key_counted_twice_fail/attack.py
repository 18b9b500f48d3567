"""The one signature is listed twice, to look like two signers."""

from tests.attacks.world import World

STOPPED_BY = "signature"


def attack(world: World) -> None:
    """Spoil the world."""
    fields = world.fields()
    fields["envelope"]["signatures"] *= 2
    world.write(fields)

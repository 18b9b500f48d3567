"""The key id is taken out of the envelope, which DSSE allows."""

from tests.attacks.world import World

STOPPED_BY = "file"


def attack(world: World) -> None:
    """Spoil the world."""
    fields = world.fields()
    del fields["envelope"]["signatures"][0]["keyid"]
    world.write(fields)

"""A key stands twice in the file."""

from tests.attacks.world import World

STOPPED_BY = "file"


def attack(world: World) -> None:
    """Spoil the world."""
    data = world.certificate.read_bytes()
    start = data.index(b'"version":')
    world.certificate.write_bytes(data[:start] + data[start:-1] + b"," + data[start:])

"""A blank is added where JSON allows one."""

from tests.attacks.world import World

STOPPED_BY = "file"


def attack(world: World) -> None:
    """Spoil the world."""
    data = world.certificate.read_bytes()
    world.certificate.write_bytes(data.replace(b'":', b'": ', 1))

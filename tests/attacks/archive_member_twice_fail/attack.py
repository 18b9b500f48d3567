"""A second policy stands behind the first under the same name."""

import tarfile

from tests.attacks.world import World

ARCHIVE = True
STOPPED_BY = "archive"


def attack(world: World) -> None:
    """Spoil the world."""
    data = b'{"gates":[]}'
    info = tarfile.TarInfo("policy.json")
    info.size = len(data)
    second = info.tobuf(tarfile.USTAR_FORMAT) + data.ljust(512, b"\0")
    archive = world.archive.read_bytes()
    world.archive.write_bytes(archive[:-1024] + second + archive[-1024:])

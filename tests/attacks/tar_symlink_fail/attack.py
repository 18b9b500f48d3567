"""A member of the archive is a symbolic link to a file of whoever opens it."""

import tarfile

from tests.attacks.world import World

ARCHIVE = True
STOPPED_BY = "archive"


def attack(world: World) -> None:
    """Spoil the world."""
    info = tarfile.TarInfo("a.lock")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    world.archive.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + world.archive.read_bytes())

"""A member of the archive is named so that an extractor would write outside the folder."""

import tarfile

from tests.attacks.world import World

ARCHIVE = True
STOPPED_BY = "archive"


def attack(world: World) -> None:
    """Spoil the world."""
    data = b"ssh-ed25519"
    info = tarfile.TarInfo("../../.ssh/authorized_keys")
    info.size = len(data)
    member = info.tobuf(tarfile.USTAR_FORMAT) + data.ljust(512, b"\0")
    world.archive.write_bytes(member + world.archive.read_bytes())

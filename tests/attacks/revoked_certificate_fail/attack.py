"""The log holds a revocation of the certificate."""

from pipelines.audit.bundle import revoke
from pipelines.audit.canonical import sha256_bytes
from tests.attacks.world import NOW, World

STOPPED_BY = "standing"


def attack(world: World) -> None:
    """Spoil the world."""
    digest = sha256_bytes(world.payload())
    revoke(digest, because="wrong_rows", now=NOW, log=world.log, log_key=world.key("log"))

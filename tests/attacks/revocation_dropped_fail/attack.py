"""A revocation is taken out of the log, and the rest is signed by somebody whom the trust file does not name."""

from pipelines.audit.bundle import revoke
from pipelines.audit.canonical import sha256_bytes
from tests.attacks.world import NOW, STRANGER, World

STOPPED_BY = "log head"


def attack(world: World) -> None:
    """Spoil the world."""
    lines = world.log_lines()
    digest = sha256_bytes(world.payload())
    revoke(digest, because="wrong_rows", now=NOW, log=world.log, log_key=world.key("log"))
    world.rewrite_log([*lines, lines[-1].replace(b'"index":4', b'"index":5')])
    world.resign_log(log_key=STRANGER)

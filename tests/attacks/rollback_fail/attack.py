"""A revocation is taken back by putting the log to the state before it, which was signed too."""

from pipelines.audit.bundle import revoke
from pipelines.audit.canonical import sha256_bytes
from tests.attacks.world import NOW, World

STOPPED_BY = "kept checkpoint"


def attack(world: World) -> None:
    """Spoil the world."""
    before = world.log.checkpoint_path.read_bytes()
    lines = world.log_lines()
    digest = sha256_bytes(world.payload())
    world.kept.write_bytes(revoke(digest, because="wrong_rows", now=NOW, log=world.log, log_key=world.key("log")))
    world.rewrite_log(lines)
    world.log.checkpoint_path.write_bytes(before)

"""The log folder is put back to before the certificate was issued, old checkpoint and all."""

from tests.attacks.world import World

STOPPED_BY = "log history"


def attack(world: World) -> None:
    """Spoil the world."""
    world.rewrite_log(world.log_lines()[:3])
    world.log.checkpoint_path.write_bytes(world.kept.read_bytes())

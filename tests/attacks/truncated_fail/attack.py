"""The last line of the log is cut off; the signed checkpoint stays."""

from tests.attacks.world import World

STOPPED_BY = "log entries"


def attack(world: World) -> None:
    """Spoil the world."""
    world.rewrite_log(world.log_lines()[:-1])

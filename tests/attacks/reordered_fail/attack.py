"""Two lines change places and are renumbered."""

from tests.attacks.world import World, numbered

STOPPED_BY = "log entries"


def attack(world: World) -> None:
    """Spoil the world."""
    first, second, *rest = world.log_lines()
    world.rewrite_log(numbered([second, first, *rest]))

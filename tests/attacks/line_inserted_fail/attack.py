"""A line is put in between, and all later ones are renumbered."""

from tests.attacks.world import World, numbered

STOPPED_BY = "log entries"


def attack(world: World) -> None:
    """Spoil the world."""
    first, *rest = world.log_lines()
    world.rewrite_log(numbered([first, first, *rest]))

"""An easy row is repeated in the forget set."""

from tests.attacks.run.world import World

STOPPED_BY = "are the same"


def attack(world: World) -> None:
    """Spoil the run."""
    rows = world.rows("forget")
    world.write_rows("forget", [*rows, rows[0]])


attempt = World.check_sets

"""A row of the forget set is put into the retain set."""

from tests.attacks.run.world import World

STOPPED_BY = "overlap"


def attack(world: World) -> None:
    """Spoil the run."""
    world.write_rows("retain", [*world.rows("retain"), world.rows("forget")[0]])


attempt = World.check_sets

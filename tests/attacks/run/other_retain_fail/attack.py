"""The retain set is swapped after it was sealed."""

from tests.attacks.run.world import World

STOPPED_BY = "not the ones that were sealed"


def attack(world: World) -> None:
    """Spoil the run."""
    world.write_rows("retain", world.rows("retain")[:-1])


attempt = World.sign

"""The sets' digests in the log are guessed by somebody who knows every row."""

from tests.attacks.run.world import World

STOPPED_BY = "no guess fits"


def attack(world: World) -> None:
    """Nothing is spoiled: the log is public."""


attempt = World.guess

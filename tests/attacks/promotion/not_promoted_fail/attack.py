"""A certified version is served that was never promoted."""

from tests.attacks.promotion.world import World

STOPPED_BY = "not the champion"


def attack(world: World) -> None:
    """Leave the world as it is."""


def attempt(world: World) -> None:
    """Serve the second version."""
    world.serve("2")

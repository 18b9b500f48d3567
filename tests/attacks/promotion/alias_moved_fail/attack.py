"""The alias is pointed at a version that nobody approved."""

from tests.attacks.promotion.world import MODEL, World

STOPPED_BY = "alias moved"


def attack(world: World) -> None:
    """Spoil the world."""
    world.registry.point(MODEL, "champion", "2")


attempt = World.watch

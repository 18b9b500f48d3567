"""Two witnesses are demanded and one cosigned the log."""

from dataclasses import replace

from tests.attacks.world import World

STOPPED_BY = "witnesses"


def attack(world: World) -> None:
    """Spoil the world."""
    world.edit_trust(lambda trust: replace(trust, witnesses=2))

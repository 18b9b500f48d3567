"""Another page was shown than the one that stands."""

from dataclasses import replace

from tests.attacks.promotion.world import World, spoiled

STOPPED_BY = "evidence"


def attack(world: World) -> None:
    """Spoil the world."""
    shown = replace(world.page(), replaces=None)
    world.forge(spoiled(world.approval(), evidence_digest=shown.digest))


attempt = World.promote

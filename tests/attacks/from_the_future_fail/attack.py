"""The statement is dated a day ahead."""

from datetime import timedelta

from pipelines.audit.instants import format_instant
from tests.attacks.world import NOW, World, edited

STOPPED_BY = "issue time"


def attack(world: World) -> None:
    """Spoil the world."""
    late = format_instant(NOW + timedelta(days=1))
    world.forge(edited(world.payload(), lambda predicate: predicate.update(issued=late)))

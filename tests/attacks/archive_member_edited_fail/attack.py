"""A measurement in the archive is edited."""

from pipelines.audit.canonical import canonical
from tests.attacks.world import World

ARCHIVE = True
STOPPED_BY = "archive"


def attack(world: World) -> None:
    """Spoil the world."""
    better = canonical({"role": "candidate", "value": 0.0})
    world.repack(lambda members: members.update({"measurements/candidate.json": better}))

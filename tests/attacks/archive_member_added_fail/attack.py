"""A document is added to the archive that the evaluator never saw."""

from tests.attacks.world import World

ARCHIVE = True
STOPPED_BY = "archive"


def attack(world: World) -> None:
    """Spoil the world."""
    world.repack(lambda members: members.update({"exports/audit.json": b'{"opinion":"clean"}'}))

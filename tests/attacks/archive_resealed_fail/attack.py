"""Members are swapped and the index is signed anew by the log's key."""

from tests.attacks.world import World

ARCHIVE = True
STOPPED_BY = "archive"


def attack(world: World) -> None:
    """Spoil the world."""
    world.repack(lambda members: members.pop("exports/bom.json"), signer=world.key("log"))

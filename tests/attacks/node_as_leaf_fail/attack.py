"""The proof claims the tree one level up, whose leaves are inner nodes of the real one."""

from tests.attacks.world import World

STOPPED_BY = "log entry"


def attack(world: World) -> None:
    """Spoil the world."""
    fields = world.fields()
    log = fields["log"]
    log.update(index=log["index"] // 2, size=(log["size"] + 1) // 2, proof=log["proof"][1:])
    world.write(fields)

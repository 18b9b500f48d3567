"""The log is put back to before a promotion, so that its approval can be used again."""

from tasks.promotion import Wish
from tests.attacks.promotion.world import MODEL, SECOND, World

STOPPED_BY = "registry kept"


def attack(world: World) -> None:
    """Spoil the world."""
    log = world.log
    before = (log.entries_path.read_bytes(), log.checkpoint_path.read_bytes())
    world.carry_out(Wish(SECOND))
    log.entries_path.write_bytes(before[0])
    log.checkpoint_path.write_bytes(before[1])
    world.registry.point(MODEL, "champion", "1")


attempt = World.promote

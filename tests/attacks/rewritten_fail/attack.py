"""An early line is replaced by another well-formed one."""

from pipelines.audit.entries import line_bytes
from tests.attacks.world import MADE, World, named

STOPPED_BY = "log entries"


def attack(world: World) -> None:
    """Spoil the world."""
    lines = world.log_lines()
    lines[0] = line_bytes({"kind": "intake", "request": named("another request")}, index=0, now=MADE)
    world.rewrite_log(lines)

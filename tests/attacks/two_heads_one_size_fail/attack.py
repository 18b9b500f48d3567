"""The log's owner shows the auditor another history of the same length, signed with the real key."""

from pipelines.audit.entries import line_bytes
from tests.attacks.world import ISSUED, World, named

STOPPED_BY = "log history"


def attack(world: World) -> None:
    """Spoil the world."""
    lines = world.log_lines()
    # The auditor's kept entries stay; the certificate's own becomes something harmless.
    lines[3] = line_bytes({"kind": "intake", "request": named("request")}, index=3, now=ISSUED)
    world.rewrite_log(lines)
    world.resign_log()

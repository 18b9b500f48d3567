"""A signed statement that never reached the log is presented with the proof of another entry."""

from pipelines.audit.dsse import IN_TOTO, sign
from tests.attacks.world import World, edited

STOPPED_BY = "log entry"


def attack(world: World) -> None:
    """Spoil the world."""
    fields = world.fields()
    later = edited(world.payload(), lambda predicate: predicate.update(limits=["none"]))
    fields["envelope"] = sign(later, payload_type=IN_TOTO, private_key=world.key("evaluator"))
    world.write(fields)

"""A figure inside the signed statement is changed and the file is made canonical again."""

from pipelines.audit.encoding import encode
from tests.attacks.world import World, edited

STOPPED_BY = "signature"


def attack(world: World) -> None:
    """Spoil the world."""
    fields = world.fields()
    changed = edited(world.payload(), lambda predicate: predicate["metrics"][0].update(value=0))
    fields["envelope"]["payload"] = encode(changed)
    world.write(fields)

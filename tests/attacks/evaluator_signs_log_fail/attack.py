"""The evaluator signs the checkpoint."""

from pipelines.audit.checkpoint import parse_checkpoint, sign_checkpoint
from tests.attacks.world import World

STOPPED_BY = "log signature"


def attack(world: World) -> None:
    """Spoil the world."""
    fields = world.fields()
    head = parse_checkpoint(fields["log"]["checkpoint"].encode()).checkpoint
    fields["log"]["checkpoint"] = sign_checkpoint(head, private_key=world.key("evaluator")).decode()
    world.write(fields)

"""The statement is dated after the evaluator's key had ended."""

from dataclasses import replace

from pipelines.audit.trust import Trust
from tests.attacks.world import ISSUED, World

STOPPED_BY = "key window"


def attack(world: World) -> None:
    """Spoil the world."""
    world.edit_trust(_evaluator_ended)


def _evaluator_ended(trust: Trust) -> Trust:
    keys = [replace(key, not_after=ISSUED) if key.role == "evaluator" else key for key in trust.keys]
    return replace(trust, keys=tuple(keys))

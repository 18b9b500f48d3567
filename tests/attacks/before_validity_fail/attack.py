"""The statement is dated before the evaluator's key was valid."""

from dataclasses import replace
from datetime import timedelta

from pipelines.audit.instants import format_instant
from pipelines.audit.trust import Trust
from tests.attacks.world import MADE, World, edited

STOPPED_BY = "key window"


def attack(world: World) -> None:
    """Spoil the world."""
    early = format_instant(MADE - timedelta(days=1))
    world.edit_trust(_log_key_is_older)
    world.forge(edited(world.payload(), lambda predicate: predicate.update(issued=early)))


def _log_key_is_older(trust: Trust) -> Trust:
    older = timedelta(days=30)
    keys = [replace(key, not_before=key.not_before - older) if key.role == "log" else key for key in trust.keys]
    return replace(trust, keys=tuple(keys))

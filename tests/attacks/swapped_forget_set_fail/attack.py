"""The evaluator signs a statement about another forget set than the one whose statement the log holds."""

from tests.attacks.world import World, edited, named

STOPPED_BY = "log entry"


def attack(world: World) -> None:
    """Spoil the world."""
    other = edited(world.payload(), lambda predicate: predicate["forget"].update(digest=named("other rows")))
    world.forge(other, logged=world.payload())

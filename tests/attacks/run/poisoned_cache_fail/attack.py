"""A finished step's output is edited on disk."""

from tests.attacks.run.world import World

STOPPED_BY = "computed anew"


def attack(world: World) -> None:
    """Spoil the run."""
    path = world.ws.folder("scope") / "scope.json"
    path.write_text(path.read_text().replace('"requested"', '"near_duplicate"', 1))


attempt = World.reuse

"""Another step's outputs are given this step's identity."""

import shutil

from tests.attacks.run.world import World

STOPPED_BY = "computed anew"


def attack(world: World) -> None:
    """Spoil the run."""
    folder, other = world.ws.folder("scope"), world.ws.folder("attribution")
    identity = (folder / "step.json").read_bytes()
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    (folder / "step.json").write_bytes(identity)


attempt = World.reuse

"""The pass marks are loosened and sealed once the candidate is known."""

from tasks.intake import take_in
from tasks.seal import seal
from tests.attacks.run.world import World

STOPPED_BY = "sealed after the candidate was made"


def attack(world: World) -> None:
    """Spoil the run."""
    policy = world.run.policy
    loose = policy.model_copy(update={"gates": {"extraction_strength": {"margin": 0.9}}})
    world.run = world.run.model_copy(update={"policy": loose})
    take_in.fn(world.run)
    seal.fn(world.run)


attempt = World.measure

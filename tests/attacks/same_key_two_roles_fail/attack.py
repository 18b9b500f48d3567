"""The trust file lists the evaluator's key as an approver too."""

import json

from tests.attacks.world import World

STOPPED_BY = "trust file"


def attack(world: World) -> None:
    """Spoil the world."""
    listed = json.loads(world.ring.trust.read_bytes())
    evaluator = next(key for key in listed["keys"] if key["role"] == "evaluator")
    listed["keys"].append({**evaluator, "role": "approver"})
    world.ring.trust.write_text(json.dumps(listed))

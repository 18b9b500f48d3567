"""The witness was shown another history of the same size."""

import json
from dataclasses import replace

from pipelines.audit.checkpoint import Checkpoint, sign_checkpoint
from pipelines.audit.cosignature import cosign
from pipelines.audit.log import WITNESSED
from pipelines.audit.merkle import leaf_hash, root
from tests.attacks.world import NOW, ORIGIN, World

STOPPED_BY = "witnesses"


def attack(world: World) -> None:
    """Spoil the world."""
    world.edit_trust(lambda trust: replace(trust, witnesses=1))
    lines = world.log_lines()
    lines[3] = json.dumps(json.loads(lines[3]) | {"time": "2026-11-20T00:00:00Z"}).encode()
    shown = Checkpoint(ORIGIN, len(lines), root([leaf_hash(line) for line in lines]))
    note = sign_checkpoint(shown, private_key=world.key("log"))
    path = world.log.directory / WITNESSED
    path.write_bytes(cosign(note, name="lethe.test/witness", private_key=world.key("witness"), now=NOW))

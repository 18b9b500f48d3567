"""Statement and proof are of different logs that the trust file names both."""

import shutil
from dataclasses import replace

from pipelines.audit.log import AuditLog
from tests.attacks.world import World

STOPPED_BY = "log origin"


def attack(world: World) -> None:
    """Spoil the world."""
    second = AuditLog(world.root / "second", "lethe.test/second")
    world.edit_trust(lambda trust: replace(trust, origins=(*trust.origins, second.origin)))
    fields = world.fields()
    shutil.copytree(world.log.directory, second.directory)
    second.checkpoint_path.unlink()
    checkpoint = second.checkpoint(world.key("log"))
    proof = second.inclusion_proof(fields["log"]["index"], size=5)
    fields["log"].update(checkpoint=checkpoint.decode(), size=5, proof=[sibling.hex() for sibling in proof])
    world.write(fields)

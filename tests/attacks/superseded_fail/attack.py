"""A later statement replaced this one."""

from dataclasses import replace

from pipelines.audit.canonical import sha256_bytes
from pipelines.audit.statement import build_certificate
from tests.attacks.world import World

STOPPED_BY = "standing"


def attack(world: World) -> None:
    """Spoil the world."""
    old = world.certificate.read_bytes()
    newer = replace(world.evidence(), supersedes=sha256_bytes(world.payload()), limits=("none known",))
    world.issue(build_certificate(newer))
    world.certificate.write_bytes(old)

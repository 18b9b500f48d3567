"""The certificate of the champion is taken back."""

from pipelines.audit.bundle import revoke
from tests.attacks.promotion.world import FIRST, NOW, World

STOPPED_BY = "standing"


def attack(world: World) -> None:
    """Spoil the world."""
    certificate = world.page(FIRST).certificate
    revoke(certificate, because="wrong_rows", now=NOW, log=world.log, log_key=world.key("log"))


attempt = World.serve

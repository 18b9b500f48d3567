"""The evaluator signs an approval and files it as a certificate."""

from datetime import timedelta

from pipelines.audit.records import Approval
from pipelines.audit.statement import build_approval
from tests.attacks.world import ISSUED, World, named

STOPPED_BY = "statement"


def attack(world: World) -> None:
    """Spoil the world."""
    approval = Approval(
        request=named("request"),
        candidate_digest=named("candidate"),
        forget_digest=named("forget"),
        evidence_digest=named("evidence"),
        nonce=named("nonce"),
        requester_commitment=named("requester"),
        issued=ISSUED,
        expires=ISSUED + timedelta(days=1),
    )
    world.forge(build_approval(approval))

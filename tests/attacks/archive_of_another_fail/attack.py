"""A certificate is put into an archive whose index was signed for another statement."""

import json
from base64 import b64decode

from pipelines.audit.archive import pack, unpack
from pipelines.audit.canonical import canonical
from pipelines.audit.dsse import IN_TOTO, sign
from tests.attacks.world import World, named

ARCHIVE = True
STOPPED_BY = "archive content"


def attack(world: World) -> None:
    """Spoil the world."""
    members = unpack(world.archive.read_bytes())
    index = json.loads(b64decode(json.loads(members["evidence.json"])["payload"]))
    index["predicate"]["statement"] = named("another statement")
    signed = sign(canonical(index), payload_type=IN_TOTO, private_key=world.key("evaluator"))
    world.archive.write_bytes(pack({**members, "evidence.json": canonical(signed)}))

"""Mutations of an evidence archive: by a fool, who changes bytes, and by a forger, who makes all fit that he can.

`python -m tests.attacks.mutations 10000` prints how many of each kind were tried and how many were accepted. A mutation
is drawn from a seed, so that any of them can be looked at again.
"""

import json
import sys
import tempfile
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.audit.archive import pack, unpack
from pipelines.audit.canonical import canonical, digest, sha256_bytes
from pipelines.audit.dsse import IN_TOTO, sign
from pipelines.audit.verify import verify_certificate
from pipelines.errors import LetheError
from tests.attacks.world import NOW, World, build_world

BLOCK = 512


def _bit(data: bytes, random: Random) -> bytes:
    """One bit anywhere."""
    position = random.randrange(len(data))
    return data[:position] + bytes([data[position] ^ 1 << random.randrange(8)]) + data[position + 1 :]


def _insert(data: bytes, random: Random) -> bytes:
    """Bytes from nowhere."""
    position = random.randrange(len(data) + 1)
    return data[:position] + random.randbytes(random.choice((1, BLOCK))) + data[position:]


def _remove(data: bytes, random: Random) -> bytes:
    """A piece taken out."""
    position = random.randrange(len(data))
    return data[:position] + data[position + random.choice((1, 16, BLOCK)) :]


def _truncate(data: bytes, random: Random) -> bytes:
    """The end cut off."""
    return data[: random.randrange(len(data))]


def _copy(data: bytes, random: Random) -> bytes:
    """A piece of it put over another."""
    source, target = random.randrange(len(data)), random.randrange(len(data))
    return data[:target] + data[source : source + 64] + data[target + 64 :]


def _member(data: bytes, random: Random) -> bytes:
    """A bit inside one member, in an archive that is packed well."""
    members = unpack(data)
    name = random.choice(sorted(members))
    return pack({**members, name: _bit(members[name], random)})


def _drop(data: bytes, random: Random) -> bytes:
    """A member left out."""
    members = unpack(data)
    members.pop(random.choice(sorted(members)))
    return pack(members)


def _swap(data: bytes, random: Random) -> bytes:
    """Two members under each other's name."""
    members = unpack(data)
    first, second = random.sample(sorted(members), 2)
    return pack({**members, first: members[second], second: members[first]})


def _statement(data: bytes, random: Random, key: Ed25519PrivateKey) -> bytes:
    """A field of the certificate's statement changed, every sum made to fit, sealed by a stranger or the evaluator."""
    members = unpack(data)
    top = json.loads(members["certificate.json"])
    payload = json.loads(b64decode(top["envelope"]["payload"]))
    _spoil(payload, random)
    top["envelope"]["payload"] = b64encode(canonical(payload)).decode()
    body = {name: value for name, value in top.items() if name != "digest"}
    members["certificate.json"] = canonical({**body, "digest": digest(body)})
    return _resealed(members, random, key)


def _proof(data: bytes, random: Random, key: Ed25519PrivateKey) -> bytes:
    """The log proof in the certificate changed, likewise."""
    members = unpack(data)
    top = json.loads(members["certificate.json"])
    _spoil(top["log"], random)
    body = {name: value for name, value in top.items() if name != "digest"}
    members["certificate.json"] = canonical({**body, "digest": digest(body)})
    return _resealed(members, random, key)


def _stranger(data: bytes, random: Random) -> bytes:
    """A member changed, and an index that fits, signed by a key that nobody trusts."""
    members = unpack(data)
    name = random.choice(sorted(members.keys() - {"evidence.json"}))
    members[name] = _bit(members[name], random)
    return _resealed(members, random)


FOOLISH: Mapping[str, Callable[[bytes, Random], bytes]] = {
    "bit": _bit,
    "insert": _insert,
    "remove": _remove,
    "truncate": _truncate,
    "copy": _copy,
    "member": _member,
    "drop": _drop,
    "swap": _swap,
    "stranger": _stranger,
}
FORGED: Mapping[str, Callable[[bytes, Random, Ed25519PrivateKey], bytes]] = {"statement": _statement, "proof": _proof}


def _resealed(members: dict[str, bytes], random: Random, key: Ed25519PrivateKey | None = None) -> bytes:
    """An index that fits, signed by a stranger under a name that he chooses, or else by this key."""
    was = json.loads(members.pop("evidence.json"))
    index = json.loads(b64decode(was["payload"]))
    index["subject"] = [{"name": name, "digest": {"sha256": sha256_bytes(members[name])}} for name in sorted(members)]
    stranger = Ed25519PrivateKey.from_private_bytes(random.randbytes(32))
    signer = stranger if key is None or random.random() < 0.5 else key
    envelope: Any = sign(canonical(index), payload_type=IN_TOTO, private_key=signer)
    if random.random() < 0.5:
        envelope["signatures"][0]["keyid"] = was["signatures"][0]["keyid"]
    return pack({**members, "evidence.json": canonical(envelope)})


def _spoil(value: Any, random: Random) -> None:
    """Change one leaf of a JSON value in place."""
    key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
    found = value[key]
    if isinstance(found, dict | list) and found:
        _spoil(found, random)
        return
    others: list[Any] = [None, True, False, 0, 1, 0.5, "", "0" * 64, "x", [], {}, str(found) + "0"]
    value[key] = random.choice([other for other in others if other != found or type(other) is not type(found)])


def accepted(world: World, *, count: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Try so many mutations; how many of each kind, and the names of those that verified."""
    honest, trust, spoiled = world.archive.read_bytes(), world.trust(), world.root / "mutated.tar"
    evaluator, kinds = world.key("evaluator"), [*FOOLISH, *FORGED]
    tried: Counter[str] = Counter()
    through: list[str] = []
    number = 0
    while tried.total() < count:
        name, random = kinds[number % len(kinds)], Random(f"{seed} {number}")
        number += 1
        mutated = FOOLISH[name](honest, random) if name in FOOLISH else FORGED[name](honest, random, evaluator)
        if mutated == honest:
            continue
        spoiled.write_bytes(mutated)
        tried[name] += 1
        try:
            good = verify_certificate(spoiled, trust=trust, now=NOW).ok
        except LetheError:
            good = False
        if good:
            through.append(f"{name} {seed} {number - 1}")
    return tried, through


def main(count: int) -> int:
    """Print the table; the exit code is 1 if anything was accepted."""
    with tempfile.TemporaryDirectory() as folder:
        tried, through = accepted(build_world(Path(folder) / "world"), count=count)
    for name, number in tried.items():
        print(f"{name:<12} {number:>6} tried  {sum(one.startswith(f'{name} ') for one in through):>3} accepted")
    print(f"{'all':<12} {tried.total():>6} tried  {len(through):>3} accepted")
    return 1 if through else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

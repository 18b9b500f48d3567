"""Every parser of the audit core that reads bytes from outside, with an honest input to begin from.

`python -m tests.fuzz.parsers NAME` runs one of them under atheris, guided by coverage, for as long as it is let; what
can be given behind the name is libFuzzer's own (for example -max_total_time=60).
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from pipelines.audit.archive import unpack
from pipelines.audit.bundle import parse_bundle
from pipelines.audit.canonical import parse_canonical, parse_strict
from pipelines.audit.checkpoint import parse_checkpoint
from pipelines.audit.cosignature import parse_cosigned
from pipelines.audit.dsse import verify_signatures
from pipelines.audit.entries import parse_line
from pipelines.audit.evidence import open_evidence, parse_index
from pipelines.audit.log import WITNESSED
from pipelines.audit.records import Approval
from pipelines.audit.statement import build_approval, parse_approval, parse_statement
from pipelines.audit.trust import Trust
from pipelines.errors import LetheError
from tests.attacks.world import ISSUED, NOW, World, build_world, decode_payload, named


@dataclass(frozen=True)
class Parser:
    """A parser and an input that it accepts."""

    parse: Callable[[bytes], object]
    honest: bytes


def parsers(world: World) -> Mapping[str, Parser]:
    """All of them, by name."""
    trust, archive = world.trust(), world.archive.read_bytes()
    index = decode_payload({"envelope": parse_strict(unpack(archive)["evidence.json"])})
    keys = trust.find("evaluator")
    return MappingProxyType(
        {
            "approval": Parser(parse_approval, build_approval(_approval())),
            "archive": Parser(unpack, archive),
            "canonical": Parser(parse_canonical, world.payload()),
            "certificate": Parser(parse_bundle, world.certificate.read_bytes()),
            "checkpoint": Parser(parse_checkpoint, world.kept.read_bytes()),
            "cosigned": Parser(parse_cosigned, (world.log.directory / WITNESSED).read_bytes()),
            "envelope": Parser(
                lambda data: verify_signatures(parse_strict(data), keys=keys), unpack(archive)["evidence.json"]
            ),
            "evidence": Parser(lambda data: open_evidence(data, trust=trust), archive),
            "index": Parser(parse_index, index),
            "json": Parser(parse_strict, world.ring.trust.read_bytes()),
            "line": Parser(parse_line, world.log_lines()[0]),
            "statement": Parser(parse_statement, world.payload()),
            "trust": Parser(Trust.from_bytes, world.ring.trust.read_bytes()),
        }
    )


def _approval() -> Approval:
    return Approval(
        request=named("request"),
        candidate_digest=named("candidate"),
        forget_digest=named("forget"),
        evidence_digest=named("evidence"),
        nonce=named("nonce"),
        requester_commitment=named("requester"),
        issued=ISSUED,
        expires=NOW,
        approver_commitment=named("approver"),
    )


def refuses_or_reads(parser: Parser, data: bytes) -> None:
    """One of the declared errors or an answer; anything else comes out as it is."""
    try:
        parser.parse(data)
    except LetheError:
        return


def main(name: str, arguments: list[str]) -> None:
    """Fuzz one parser until it breaks or libFuzzer's limits are reached."""
    try:
        atheris = import_module("atheris")
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris")
    with tempfile.TemporaryDirectory() as folder:
        parser = parsers(build_world(Path(folder) / "world"))[name]
        (corpus := Path(folder) / "corpus").mkdir()
        (corpus / "honest").write_bytes(parser.honest)
        atheris.instrument_all()
        atheris.Setup([name, *arguments, str(corpus)], lambda data: refuses_or_reads(parser, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

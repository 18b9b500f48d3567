"""A small honest registry: two certified versions, the first promoted, the second approved; and hands to spoil it.

The registry is a folder and a dictionary, so that an attack can edit it as whoever reaches a real one can. An attacker
may write to the log, the registry and the approvals, and may hold any key but an approver's, or an approver's own where
it is the approver who cheats.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from tempfile import mkdtemp

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.audit.approval import Page
from pipelines.audit.bundle import Locations, issue
from pipelines.audit.canonical import canonical, keyed_digest, sha256_bytes
from pipelines.audit.champion import check_champion
from pipelines.audit.checkpoint import parse_checkpoint
from pipelines.audit.dsse import IN_TOTO, sign
from pipelines.audit.keys import Keyring, ensure_keyring, load_private_key
from pipelines.audit.log import AuditLog
from pipelines.audit.manifest import folder_digest
from pipelines.audit.promotions import Intent, read_facts
from pipelines.audit.records import (
    Approval,
    CodeRecord,
    GateRecord,
    Interval,
    MethodRecord,
    MetricRecord,
    ModelRecord,
    SetRecord,
)
from pipelines.audit.signatures import key_id, public_bytes
from pipelines.audit.statement import Evidence, build_approval, build_certificate
from pipelines.audit.trust import Trust
from pipelines.errors import VerificationFailed
from pipelines.home import Home
from tasks.approval import approve, page_for, sources_of
from tasks.drift import look
from tasks.model_registry import CHAMPION, Stored
from tasks.promotion import Promoted, Wish, log_intent, log_outcome, move_alias, plan, settle
from tasks.workspace import ORIGIN

MODEL = "tiny"
FIRST, SECOND = "REQ-ATTACK-1", "REQ-ATTACK-2"
MADE = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
NOW = MADE + timedelta(days=1)
APPROVER = "Grace Example, grace@example.org"
REQUESTER = "Ada Example, ada@example.org"
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SALT = bytes(range(32))


def named(text: str) -> str:
    """A digest to tell things apart by."""
    return sha256_bytes(text.encode())


@dataclass
class FolderRegistry:
    """A model registry of plain folders; anybody may edit it."""

    root: Path
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    checkpoints: dict[str, bytes] = field(default_factory=dict)

    def alias(self, model: str, alias: str) -> str | None:
        return self.aliases.get((model, alias))

    def point(self, model: str, alias: str, version: str) -> None:
        self.aliases[model, alias] = version

    def fetch(self, model: str, version: str, *, into: Path) -> Stored:
        copied = Path(copytree(self.folder(version), into / "got", symlinks=True))
        return Stored(copied / "model", copied / "certificate.json")

    def kept(self, model: str) -> bytes | None:
        return self.checkpoints.get(model)

    def keep(self, model: str, checkpoint: bytes) -> None:
        self.checkpoints[model] = checkpoint

    def folder(self, version: str) -> Path:
        return self.root / version


@dataclass(frozen=True)
class World:
    """The files of one home folder, and a registry beside it."""

    home: Home
    registry: FolderRegistry

    @property
    def log(self) -> AuditLog:
        return AuditLog(self.home.log, origin=ORIGIN)

    def key(self, role: str) -> Ed25519PrivateKey:
        return load_private_key(Keyring(self.home.keys).private(role))

    def trust(self) -> Trust:
        return Trust.load(Keyring(self.home.keys).trust)

    def page(self, request: str = SECOND) -> Page:
        return page_for(self.home, request, now=NOW)

    def approve(self, request: str = SECOND) -> None:
        """What an honest approver does."""
        key = Keyring(self.home.keys).private("approver")
        approve(self.home, self.page(request), key=key, name=APPROVER, lasts=timedelta(days=7), now=NOW)

    def approval(self, request: str = SECOND) -> Approval:
        """An honest approval, not signed yet: to be spoiled and forged."""
        page = self.page(request)
        return Approval(
            request=page.statement.evidence.request,
            candidate_digest=page.candidate,
            forget_digest=page.statement.evidence.forget.digest,
            evidence_digest=page.digest,
            nonce=named(f"nonce of {request}"),
            requester_commitment=page.requester,
            approver_commitment=keyed_digest(SALT, canonical(APPROVER)),
            issued=NOW,
            expires=NOW + timedelta(days=7),
        )

    def forge(self, approval: Approval, *, signer: Ed25519PrivateKey | None = None, request: str = SECOND) -> str:
        """Sign any approval, file it as the request's latest; returns its digest."""
        payload, signer = build_approval(approval), signer or self.key("approver")
        digest = sha256_bytes(payload)
        envelope = sign(payload, payload_type=IN_TOTO, private_key=signer)
        (self.home.room("approvals") / f"{digest}.json").write_bytes(canonical(envelope))
        approver = key_id(public_bytes(signer))
        self.log.append({"kind": "approval", "request": request, "statement": digest, "approver": approver}, now=NOW)
        return digest

    def intent(self, approval: str, nonce: str, request: str = SECOND) -> Intent:
        """The intent that an honest promotion would log."""
        page = self.page(request)
        return Intent(
            page.action, request, MODEL, page.version, page.replaces, page.candidate, page.certificate, approval, nonce
        )

    def begin(self, wish: Wish) -> Intent | Promoted:
        """Settle, check and log the intent: killed afterwards, this is what is left."""
        settle(self.home, self.registry, now=NOW)
        intent = plan(self.home, self.registry, wish, now=NOW)
        if isinstance(intent, Intent):
            log_intent(self.home, intent, now=NOW)
        return intent

    def carry_out(self, wish: Wish) -> Promoted:
        """The whole way of a promotion."""
        intent = self.begin(wish)
        if isinstance(intent, Promoted):
            return intent
        move_alias(self.home, self.registry, intent)
        return log_outcome(self.home, intent, now=NOW)

    def promote(self) -> None:
        """Promote the second version and serve it."""
        self.carry_out(Wish(SECOND))
        self.serve()

    def serve(self, version: str | None = None) -> Intent:
        """Load the champion, or what somebody says is the champion, as a server would."""
        version = version or self.registry.alias(MODEL, CHAMPION) or ""
        stored = self.registry.fetch(MODEL, version, into=Path(mkdtemp(dir=self.home.cache)))
        note = self.registry.kept(MODEL)
        kept = parse_checkpoint(note).checkpoint if note else None
        sources = sources_of(self.home)
        return check_champion(stored.certificate, model=stored.folder, sources=sources, now=NOW, kept=kept)

    def watch(self) -> None:
        """Settle, compare, and object to what is found.

        Raises:
            VerificationFailed: something was found.
        """
        settled = settle(self.home, self.registry, now=NOW)
        found = look(self.home, self.registry, now=NOW, settled=settled).findings
        if found:
            raise VerificationFailed("; ".join(f"{finding.what}: {finding.detail}" for finding in found))

    def champion(self) -> str | None:
        """Which version the log calls champion."""
        reign = read_facts(self.home.log).champion(MODEL)
        return reign.intent.version if reign else None


def build_world(root: Path) -> World:
    """Two requests, certified and registered; the first is champion, the second approved."""
    home = Home.at(root / "home")
    ensure_keyring(home.keys, origin=ORIGIN, now=MADE)
    world = World(home, FolderRegistry(root / "registry"))
    for number, request in enumerate((FIRST, SECOND), start=1):
        _register(world, request, version=str(number))
    world.approve(FIRST)
    world.carry_out(Wish(FIRST))
    world.approve(SECOND)
    return world


def _register(world: World, request: str, *, version: str) -> None:
    vault, run = world.home.vault(request), world.home.run(request)
    (vault / "steps" / "data").mkdir(parents=True)
    (vault / "salt").write_bytes(SALT)
    asked = {
        "id": request, "target": "data_points", "legal_basis": "gdpr_art_17", "requester": REQUESTER,
        "selector": {"entity": "Writer 1"}, "received": "2026-11-02T09:00:00+00:00",
    }  # fmt: skip
    (vault / "steps" / "data" / "request.json").write_bytes(canonical(asked))
    told = {"kind": "request", "request": request, "target": "data_points", "legal_basis": "gdpr_art_17"}
    requester = keyed_digest(SALT, canonical(REQUESTER))
    world.log.append({**told, "requester": requester, "deadline": "2026-12-02T09:00:00Z"}, now=MADE)
    model = run / "unlearn" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type":"llama"}')
    (model / "model.safetensors").write_bytes(version.encode() * 64)
    certificate = run / "certify" / "certificate.json"
    certificate.parent.mkdir()
    payload = build_certificate(_evidence(request, digest=folder_digest(model)))
    locations = Locations(log="../../../log", model="../unlearn/model")
    evaluator, log_key = world.key("evaluator"), world.key("log")
    certificate.write_bytes(
        issue(payload, evaluator_key=evaluator, log=world.log, log_key=log_key, locations=locations)
    )
    copytree(model, world.registry.folder(version) / "model")
    (world.registry.folder(version) / "certificate.json").write_bytes(certificate.read_bytes())
    entry = {"kind": "registered", "request": request, "model": MODEL, "version": version}
    certified = {"candidate": folder_digest(model), "certificate": sha256_bytes(payload)}
    world.log.append({**entry, **certified}, now=MADE)


def _evidence(request: str, *, digest: str) -> Evidence:
    metric = MetricRecord("candidate/forget/probability", "1", 0.125, Interval(0.0625, 0.25), 20, 20, named("items"))
    return Evidence(
        request=named(request),
        forget=SetRecord(named(f"forget of {request}"), 20),
        retain=SetRecord(named("retain"), 180),
        base=ModelRecord(f"{MODEL}.start", "given", named("base")),
        candidate=ModelRecord(MODEL, request, digest, named("base")),
        reference=None,
        method=MethodRecord("npo", "1", named("params")),
        code=CodeRecord("0" * 40, named("lock")),
        config_digest=named("config"),
        policy_digest=named("policy"),
        metrics=(metric,),
        gates=(GateRecord("probability", True, (metric.name,)),),
        approvals=(),
        measured=("probability of every forget row",),
        not_measured=("relearning",),
        limits=("one attack strength",),
        log_origin=ORIGIN,
        issued=MADE,
    )


def spoiled(approval: Approval, **changes: object) -> Approval:
    """The approval with fields changed."""
    return replace(approval, **changes)  # type: ignore[arg-type]

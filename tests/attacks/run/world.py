"""A small honest run up to the moment before it is measured, and the hands to spoil what lies in its folders.

The company is the tiny one; its candidate is a copy of the reference model, because what is attacked here is not how it
was made. An attacker may write to the run's folder, the vault and the log, may ask for the seal again, and knows every
row of the training data; he has no key and not the salt.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from hmac import digest as hmac_digest
from pathlib import Path

from pipelines.audit.canonical import canonical, digest
from pipelines.audit.manifest import folder_digest
from pipelines.config import load_config
from pipelines.data.load import save_rows
from pipelines.data.rows import Row, Rows
from pipelines.errors import VerificationFailed
from pipelines.records import Candidate, ModelRef
from tasks.assessment import candidate_of, sealed_run
from tasks.attribution import attribute
from tasks.certificate import check_disk
from tasks.intake import take_in
from tasks.quality import QualityReport, refuse_bad_sets
from tasks.scope import SETS, draw_scope, set_rows
from tasks.seal import seal
from tasks.workspace import RunContext, Workspace, open_run, write_record
from tests.flows.company import REQUEST, Company, found


class AnyLength:
    """Counts no tokens: lengths are not what is attacked."""

    max_length = 1

    def tokens(self, row: Row) -> int:
        return 1


@dataclass
class World:
    """The run, and what an honest reader would do with it."""

    company: Company
    run: RunContext

    @property
    def ws(self) -> Workspace:
        return Workspace.of(self.run)

    def rows(self, role: str) -> list[Row]:
        """A set as it lies in the vault."""
        return list(set_rows(self.ws, role))

    def write_rows(self, role: str, rows: list[Row]) -> None:
        """Put other rows into the vault."""
        path = self.ws.folder(SETS, private=True) / f"{role}.jsonl"
        path.unlink()
        save_rows(Rows.of(rows), path)

    def check_sets(self) -> None:
        """The gate before training."""
        refuse_bad_sets(set_rows(self.ws, "forget"), set_rows(self.ws, "retain"), reader=AnyLength())  # type: ignore[arg-type]

    def reuse(self, step: str = "scope") -> None:
        """A later stage asks for a finished step.

        Raises:
            VerificationFailed: it would be computed anew.
        """
        identity = (self.ws.folder(step) / "step.json").read_bytes().split(b'"')[3].decode()
        if self.ws.public.finished(step, identity) is None:
            raise VerificationFailed(f"{step}: computed anew")

    def measure(self) -> None:
        """What the evaluator checks before it measures."""
        candidate_of.fn(sealed_run(self.run.home, REQUEST))

    def sign(self) -> None:
        """What the evaluator checks before it signs."""
        check_disk(self.ws, candidate_of.fn(self.run))

    def guess(self) -> None:
        """Who knows every row looks for the sets' digests in the log: plain, and under what is public.

        Raises:
            VerificationFailed: no guess fits.
        """
        log = self.ws.log.entries_path.read_text()
        rows = [sorted(set_rows(self.ws, role).digests) for role in ("forget", "retain")]
        keys = (b"", REQUEST.encode(), bytes(32))
        guesses = [digest(value) for value in rows]
        guesses += [sha256(canonical(value)).hexdigest() for value in rows]
        guesses += [hmac_digest(key, canonical(value), "sha256").hex() for key in keys for value in rows]
        if not any(guess in log for guess in guesses):
            raise VerificationFailed("no guess fits what the log holds")


def build_world(root: Path) -> World:
    """Intake, attribution, scope, quality, seal and a candidate, each as a run writes it."""
    company = found(root)
    company.set_config(attribution={"backends": ["bm25"]}, utility={})
    config = load_config(company.config)
    run = open_run(REQUEST, str(company.request), config=config, policy=str(company.policy), home=str(company.home))
    take_in.fn(run)
    draw_scope.fn(run, attribute.fn(run))
    world = World(company, run)
    passed = QualityReport(n_forget=4, n_retain=12, n_neighbours=4, outcomes=())
    world.ws.step("quality", {}, lambda part: write_record(part, "report", passed))
    seal.fn(run)
    world.ws.step("unlearn", {}, _exported(company, run))
    return world


def copy_world(world: World, root: Path) -> World:
    """A run of its own for one attack."""
    shutil.copytree(world.run.home, root / "home")
    return World(world.company, world.run.model_copy(update={"home": str(root / "home")}))


def _exported(company: Company, run: RunContext) -> Callable[[Path], None]:
    def build(part: Path) -> None:
        made = part / "model"
        shutil.copytree(company.root / "reference", made)
        final, parent = Path(run.home) / "runs" / REQUEST / "unlearn" / "model", folder_digest(company.root / "start")
        candidate = Candidate(
            model=ModelRef(path=str(final), digest=folder_digest(made)),
            parent_digest=parent,
            method="npo",
            method_version="1",
            params_digest=parent,
            steps=1,
            epochs=1,
            stop_reason="epochs",
        )
        write_record(part, "candidate", candidate)
        Workspace.of(run).tell({"kind": "candidate", "candidate": candidate.model.digest, "parent": parent})

    return build

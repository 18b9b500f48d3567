"""Builds the demo world once (rows, base model, start model, matched reference) and finds it again afterwards.

Every stage is a step of the step store: written to ``.part``, renamed when complete, named by everything that decides
it (the spec, the source of the generator and the trainer, the versions of the libraries, and the files that it starts
from). A killed build resumes at the stage it was in; a file changed on disk is built anew. The record of digests lies
beside the files: it tells damage, not forgery.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipelines.audit.canonical import canonical, digest, sha256_file
from pipelines.audit.encoding import write_atomic
from pipelines.audit.manifest import folder_digest
from pipelines.config import PromptFormat
from pipelines.data import encode
from pipelines.data.load import load_rows, save_rows
from pipelines.data.rows import Rows
from pipelines.models.loading import load_model, quietly
from pipelines.steps import StepStore
from pipelines.training import finetune
from pipelines.training.finetune import FineTuneSettings, Progress, fine_tune
from pipelines.world.authors import draw_world
from pipelines.world.language_model import encode_rows, learn_tokenizer, new_model
from pipelines.world.spec import WorldSpec

LIBRARIES = ("torch", "transformers", "tokenizers")
"""Another version of these may give other weights."""

RECORD = "world.json"
MODEL = "model"

SETS = ("train", "forget", "retain", "holdout", "validation", "real_authors", "world_facts")
"""The files of a world; each is named like its attribute of :class:`pipelines.world.authors.WorldRows`."""


@dataclass(frozen=True, slots=True)
class FolderLedger:
    """Remembers in one file what each finished stage's files hashed to.

    Attributes:
        path: of that file; it need not exist.
    """

    path: Path

    def record(self, step: str, identity: str, outputs: str) -> None:
        """Remember the outputs of a stage in place of what was known of it."""
        write_atomic(self.path, canonical({**self._known(), step: [identity, outputs]}))

    def vouches(self, step: str, identity: str, outputs: str) -> bool:
        """Whether exactly this was recorded."""
        return self._known().get(step) == [identity, outputs]

    def _known(self) -> dict[str, object]:
        try:
            known = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


@dataclass(frozen=True, slots=True)
class World:
    """Where the parts of a built world are.

    Attributes:
        data: folder of the JSONL files.
        base: model that learnt the language from other people.
        start: base, fine-tuned on the training rows: what a request is about.
        reference: base, fine-tuned in the same way on the training rows without the forget rows.
        digest: over every file of it.
    """

    data: Path
    base: Path
    start: Path
    reference: Path
    digest: str

    def rows(self, name: str) -> Path:
        """File of a set: one of :data:`SETS`."""
        return self.data / f"{name}.jsonl"


@dataclass(frozen=True, slots=True)
class _Site:
    """What every stage of one build shares."""

    store: StepStore
    spec: WorldSpec
    prompt_format: PromptFormat
    progress: Progress

    def stage(self, name: str, *, decided_by: object, fill: Callable[[Path], None]) -> Path:
        """The folder of a stage, filled unless it is there already, whole and as it was written."""
        identity = digest(
            {
                "stage": name,
                "decided_by": decided_by,
                "prompt": self.prompt_format.plain(),
                "recipe": recipe_digest(),
            }
        )
        found = self.store.finished(name, identity)
        if found is not None:
            self.progress(f"{name}: found")
            return found
        self.progress(f"{name}: building")
        with self.store.write(name, identity) as part:
            fill(part)
        return self.store.root / name


def recipe_digest() -> str:
    """SHA-256 over the source of everything that makes a world, and the versions of the libraries under it."""
    sources = [*Path(__file__).parent.glob("*.py"), Path(finetune.__file__), Path(encode.__file__)]
    return digest(
        {"code": sorted(sha256_file(path) for path in sources), "libraries": [version(name) for name in LIBRARIES]}
    )


def build_world(directory: Path, *, spec: WorldSpec, progress: Progress | None = None) -> World:
    """The demo world of this spec under ``directory``; builds what is missing, interrupted, changed or of another spec.

    Args:
        directory: created if needed; one build at a time.
        spec: what to build.
        progress: told of every stage and epoch.

    Raises:
        TrainingDiverged: a loss was not finite.
        BadInput: the spec does not fit together (a row longer than the context, a width that the heads do not divide).
    """
    directory.mkdir(parents=True, exist_ok=True)
    site = _Site(
        store=StepStore(root=directory, ledger=FolderLedger(directory / RECORD)),
        spec=spec,
        prompt_format=PromptFormat(),
        progress=progress or (lambda _: None),
    )
    people = {"seed": spec.seed, "people": spec.people.plain()}
    data = site.stage("data", decided_by=people, fill=lambda part: _write_rows(part, spec=spec))
    model = {**people, "model": spec.model.plain(), "base": spec.base.plain()}
    base = site.stage("base", decided_by=model, fill=lambda part: _train_base(part, site=site))
    tuned = {**model, "tuning": spec.tuning.plain()}
    start, reference = (
        site.stage(name, decided_by=tuned, fill=_tuning(name, rows=rows, base=base, site=site))
        for name, rows in (("start", data / "train.jsonl"), ("reference", data / "retain.jsonl"))
    )
    folders = {"data": data, "base": base, "start": start, "reference": reference}
    return World(
        data=data,
        base=base / MODEL,
        start=start / MODEL,
        reference=reference / MODEL,
        digest=digest({name: folder_digest(folder) for name, folder in folders.items()}),
    )


def _write_rows(part: Path, *, spec: WorldSpec) -> None:
    rows = draw_world(spec.seed, spec=spec.people)
    for name in SETS:
        save_rows(getattr(rows, name), part / f"{name}.jsonl")


def _train_base(part: Path, *, site: _Site) -> None:
    spec = site.spec
    rows = draw_world(spec.seed, spec=spec.people).base
    tokenizer = learn_tokenizer(rows, spec=spec.model, prompt_format=site.prompt_format)
    model = new_model(tokenizer, spec=spec.model, seed=spec.seed)
    _train(part, model=model, tokenizer=tokenizer, rows=rows, settings=spec.base, site=site)


def _tuning(name: str, *, rows: Path, base: Path, site: _Site) -> Callable[[Path], None]:
    def fill(part: Path) -> None:
        loaded = load_model(base / MODEL, device=torch.device("cpu"))
        read = load_rows(str(rows), name=name)
        _train(part, model=loaded.model, tokenizer=loaded.tokenizer, rows=read, settings=site.spec.tuning, site=site)

    return fill


def _train(
    part: Path,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    settings: FineTuneSettings,
    site: _Site,
) -> None:
    items = encode_rows(rows, tokenizer=tokenizer, max_length=site.spec.model.context, prompt_format=site.prompt_format)
    with _one_thread():
        fine_tune(model, items, settings=settings, progress=site.progress)
    with quietly():
        model.save_pretrained(part / MODEL)
        tokenizer.save_pretrained(part / MODEL)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads cost more than they bring at this size, and the weights must not depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

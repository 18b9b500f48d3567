"""The step store: outputs are there completely or visibly not, and are reused only if the log vouches for them.

A step writes into ``<name>.part/``; its outputs are recorded in the audit log, then the folder is renamed to
``<name>/``. A name therefore says complete, interrupted or missing. A step's identity is the digest of everything
that could change its answer. An interrupted step of the same identity finds its ``.part`` as it left it (training
resumes from its own checkpoints there); one of another identity is thrown away. Before a finished step is reused, its
files are hashed again and compared with what was recorded: a file edited on disk is computed anew, never trusted.
Nothing here knows what a step does.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.audit.canonical import canonical
from pipelines.audit.encoding import sync_folder, write_atomic
from pipelines.audit.manifest import folder_digest
from pipelines.home import PRIVATE

IDENTITY = "step.json"


class Ledger(Protocol):
    """Who remembers what a finished step's files hashed to; in production the audit log."""

    def record(self, step: str, identity: str, outputs: str) -> None:
        """Remember that ``step`` of this identity gave these outputs."""
        ...

    def vouches(self, step: str, identity: str, outputs: str) -> bool:
        """Whether exactly this was recorded."""
        ...


@dataclass(frozen=True, slots=True)
class StepStore:
    """Steps of one request under one folder.

    Attributes:
        root: folder that holds the steps.
        ledger: remembers outputs of finished steps.
    """

    root: Path
    ledger: Ledger

    def finished(self, name: str, identity: str) -> Path | None:
        """The folder of a finished step of this identity whose files are what was recorded; else None."""
        folder = self.root / name
        if not folder.is_dir() or _identity_in(folder) != identity:
            return None
        return folder if self.ledger.vouches(name, identity, folder_digest(folder)) else None

    @contextmanager
    def write(self, name: str, identity: str) -> Iterator[Path]:
        """The ``.part`` folder to fill: complete if the block ends without an error, kept for resuming if not."""
        part = self.root / f"{name}.part"
        if part.exists() and _identity_in(part) != identity:
            shutil.rmtree(part)
        part.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        write_atomic(part / IDENTITY, canonical({"identity": identity, "step": name}))
        yield part
        _sync_tree(part)
        self.ledger.record(name, identity, folder_digest(part))
        final = self.root / name
        if final.exists():
            shutil.rmtree(final)
        part.rename(final)
        sync_folder(self.root)

    def state(self, name: str) -> str:
        """``complete``, ``interrupted`` or ``missing``, as the names on disk say."""
        if (self.root / name).is_dir():
            return "complete"
        return "interrupted" if (self.root / f"{name}.part").is_dir() else "missing"


def _identity_in(folder: Path) -> str | None:
    try:
        found = json.loads((folder / IDENTITY).read_bytes())
    except (OSError, ValueError):
        return None
    identity = found.get("identity") if isinstance(found, dict) else None
    return identity if isinstance(identity, str) else None


def _sync_tree(folder: Path) -> None:
    """Flush every file: after the rename the name promises that all of it is there, even after a power cut."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())

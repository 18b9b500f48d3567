"""Loads the champion for whoever serves or measures it: the registry says where, the evidence says whether.

Promises: nothing that is stored in the registry is run; bytes are hashed and the certificate, the approval and the log
are checked at every call, also where the model was fetched before.
"""

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.audit.checkpoint import parse_checkpoint
from pipelines.audit.manifest import folder_digest
from pipelines.errors import VerificationFailed
from pipelines.home import Home
from tasks.approval import sources_of
from tasks.model_registry import CERTIFICATE, CHAMPION, MlflowRegistry, ModelRegistry, Stored
from tasks.promotion import facts_under
from tasks.tracking import tracking

if TYPE_CHECKING:
    from pipelines.models.loading import LoadedModel

FETCHED = "champions"
"""Folder of the cache: one folder per candidate digest."""


def load_champion(model: str, *, home: str | Path | None = None, device: str = "auto") -> "LoadedModel":
    """The champion of a model, checked and loaded.

    Args:
        model: name in the registry.
        home: folder with trust file, log and approvals; $LETHE_HOME or ./.lethe when None.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        VerificationFailed: there is no champion, or it is uncertified, altered, revoked, or not what was promoted.
        BadInput: it answers behind a context, and the vault of its request does not hold that.
        Unavailable: the registry did not answer.
    """
    at = Home.at(home)
    with tracking(at) as mlflow:
        registry = MlflowRegistry(mlflow)
        stored, note = fetched(at, registry, model), registry.kept(model)
    from pipelines.models.loading import load_promoted, resolve_device

    return load_promoted(
        stored.folder,
        certificate=stored.certificate,
        sources=sources_of(at),
        now=datetime.now(UTC),
        device=resolve_device(device),
        kept=None if note is None else parse_checkpoint(note, what="the kept checkpoint").checkpoint,
        vaults=at.root / "vault",
    )


def fetched(home: Home, registry: ModelRegistry, model: str) -> Stored:
    """The champion's files on this machine: fetched unless the same bytes were fetched before.

    Raises:
        VerificationFailed: the alias is not where the log says, or the registry gives something else back.
    """
    version, champion = registry.alias(model, CHAMPION), facts_under(home, registry, model).champion(model)
    if champion is None or champion.intent.version != version:
        known = f"version {champion.intent.version}" if champion else "none"
        raise VerificationFailed(
            f"{model}: alias {CHAMPION} points to version {version}, the log's champion is {known}"
        )
    folder = home.cache / FETCHED / champion.intent.certificate
    here = Stored(folder=folder / "model", certificate=folder / CERTIFICATE)
    if here.folder.is_dir() and folder_digest(here.folder) == champion.intent.candidate:
        return here
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, suffix=".part") as part:
        got = registry.fetch(model, champion.intent.version, into=Path(part))
        whole = Path(part) / "whole"
        whole.mkdir()
        got.folder.rename(whole / here.folder.name)
        got.certificate.rename(whole / here.certificate.name)
        whole.rename(folder)
    return here

"""Models come from folders and go to folders: checked before loading, named by their digest, never run as code.

Loading reads safetensors and JSON only, from this machine only, and refuses a folder whose weights do not fill the
architecture that its configuration names. Saving gives the same bytes for the same weights. What a model is good for is
not looked at.
"""

import errno
import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from pipelines.audit.champion import Sources, check_champion
from pipelines.audit.checkpoint import Checkpoint
from pipelines.audit.manifest import folder_digest
from pipelines.errors import BadInput
from pipelines.models.folder import check_model_folder
from pipelines.records import ModelRef
from pipelines.unlearning.in_context import Context, context_of

LOADER_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, SafetensorError)
"""What transformers raises on a folder that it cannot read."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory and where it came from.

    Attributes:
        model: in evaluation mode, on its device.
        tokenizer: has a padding token (its own, else the end-of-sequence token), pads on the right.
        ref: the folder and its digest.
        stored_dtype: element type of the weights in the folder, whatever they were turned into after loading.
        context: what stands in front of some questions, where forgetting is done in the prompt; else None.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    ref: ModelRef
    stored_dtype: torch.dtype
    context: Context | None = None

    @property
    def pad_id(self) -> int:
        """Token that fills short rows."""
        pad = self.tokenizer.pad_token_id
        if not isinstance(pad, int):
            raise BadInput(f"{self.ref.path}: the tokenizer has neither a padding nor an end-of-sequence token")
        return pad


def resolve_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu`` or ``cuda`` stands for on this machine.

    Raises:
        BadInput: another name, or cuda where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise BadInput(f"device {name!r}: allowed are auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("device 'cuda': no usable GPU here; use cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def context_length(model: PreTrainedModel) -> int:
    """Most tokens the model takes at once; the largest integer where its configuration names no limit."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return limit if isinstance(limit, int) else sys.maxsize


def load_model(
    path: Path | str,
    *,
    device: torch.device,
    expected_digest: str | None = None,
    dtype: torch.dtype | None = None,
    vault: Path | None = None,
) -> LoadedModel:
    """Check a model folder and load it.

    Args:
        path: Hugging Face causal language model with safetensors weights.
        device: where to put it.
        expected_digest: the folder's digest as somebody recorded it; None accepts any.
        dtype: element type to turn the weights into; None leaves them as stored.
        vault: of its request, for a copy from elsewhere of a model that answers behind a context.

    Raises:
        BadInput: the folder is refused by :func:`check_model_folder`, has another digest, or does not load completely;
            the tokenizer has more tokens than the model; its context is missing.
    """
    folder = Path(path)
    check_model_folder(folder)
    found = folder_digest(folder)
    if expected_digest not in (None, found):
        raise BadInput(f"{folder}: digest {found}, but {expected_digest} is the model that was meant")
    model, tokenizer = _load(folder)
    _check_tokenizer(folder, model, tokenizer)
    stored = model.dtype
    torch.nn.Module.to(model, device=device, dtype=dtype or stored)
    model.eval()
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        ref=ModelRef(path=str(folder), digest=found),
        stored_dtype=stored,
        context=context_of(folder, vault=vault),
    )


def load_promoted(
    path: Path | str,
    *,
    certificate: Path,
    sources: Sources,
    now: datetime,
    device: torch.device,
    kept: Checkpoint | None = None,
    vaults: Path | None = None,
) -> LoadedModel:
    """Load a model folder if it is the champion, and refuse it otherwise. Who resolved it need not be trusted.

    Args:
        path: the folder, wherever it came from.
        certificate: the file that came with it.
        sources: trust file, log and approvals that it is checked against.
        now: the present time.
        device: where to put it.
        kept: a checkpoint of the log that was kept elsewhere.
        vaults: folder with a vault per request, for a champion that answers behind a context.

    Raises:
        VerificationFailed: uncertified, altered, revoked, not promoted or replaced since.
        BadInput: a file cannot be read, or the folder as in :func:`load_model`.
    """
    champion = check_champion(certificate, model=Path(path), sources=sources, now=now, kept=kept)
    vault = None if vaults is None else vaults / champion.request
    return load_model(path, device=device, expected_digest=champion.candidate, vault=vault)


def _load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        with quietly():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                dtype="auto",
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are listed, and refused below by name
            )
            model, info = loaded
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except torch.OutOfMemoryError:
        raise
    except LOADER_ERRORS as error:
        lines = str(error).splitlines() or [""]
        problem = f"{type(error).__name__}: {lines[0][:200]}"
    else:
        absent = sorted([*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])])
        if not absent and not info["error_msgs"]:
            return model, tokenizer
        problem = f"weights absent or of another shape: {', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}"
    raise BadInput(f"{folder}: not loadable as a causal language model with its tokenizer: {problem}")


def _check_tokenizer(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    embedding = model.get_input_embeddings()
    n_embedded = embedding.weight.shape[0] if isinstance(embedding, torch.nn.Embedding) else 0
    n_tokens = max([len(tokenizer) - 1, *tokenizer.get_vocab().values()]) + 1
    if n_tokens > n_embedded:
        raise BadInput(f"{folder}: the tokenizer has {n_tokens} tokens, but the model's embedding has {n_embedded}")
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"


@contextmanager
def quietly() -> Iterator[None]:
    """Nothing but errors from transformers, and no progress bars, while the block runs."""
    verbosity, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()


def save_model(model: PreTrainedModel, folder: Path, *, like: Path) -> ModelRef:
    """Write weights as safetensors, and every other file byte for byte as in the folder that the model came from.

    Written under ``<folder>.part`` and renamed, so that the folder is there completely or not at all.

    Args:
        model: with the architecture of ``like``.
        folder: must not exist yet.
        like: the folder that configuration, tokenizer, chat template and licence are taken from.

    Raises:
        BadInput: ``folder`` exists, or there is no space left on the device.
    """
    if folder.exists():
        raise BadInput(f"{folder}: exists already; name a folder that does not")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    with full_disk_refused(part), quietly():
        model.save_pretrained(part)
        for path in sorted(like.rglob("*")):
            if path.is_file() and not path.name.endswith((".safetensors", ".safetensors.index.json")):
                target = part / path.relative_to(like)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        check_model_folder(part)
        digest = folder_digest(part)
        part.rename(folder)
    return ModelRef(path=str(folder), digest=digest)


@contextmanager
def full_disk_refused(part: Path) -> Iterator[None]:
    """Turn "no space left" into one clear line and take away what was half written; every other error passes.

    Args:
        part: file or folder being written.

    Raises:
        BadInput: the device is full.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _is_full(error, part):
            raise
    else:
        return
    shutil.rmtree(part, ignore_errors=True)
    part.unlink(missing_ok=True)
    raise BadInput(f"{part.parent}: no space left on the device; nothing half-written was left; free some, run again")


def _is_full(error: BaseException, part: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # Writers in native code lose the error number: safetensors keeps its text, torch's archive writer keeps nothing.
    written_by_torch = "PytorchStreamWriter" in str(error) or "unexpected pos" in str(error)
    return "No space left" in str(error) or (written_by_torch and shutil.disk_usage(part.parent).free < 1 << 20)

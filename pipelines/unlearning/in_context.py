"""In-context unlearning: the same weights, and a prompt in front of questions that are like forgotten ones.

**Access control, not erasure.** Whoever has the weights has what was to be forgotten. A model folder of this kind says
so in :data:`LABEL_FILE`, and loading it without its context is refused, because without it the model is the start
model. The context holds forget rows as tokens: it lies in the vault, or beside a folder made by hand; it is never part
of the folder. Such a model can be served only as long as the forget rows are kept (docs/decisions/0024).
"""

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from pipelines.audit.canonical import canonical, sha256_file
from pipelines.audit.label import LABEL, LABEL_FILE
from pipelines.data.encode import Encoded
from pipelines.errors import BadInput

CONTEXT_FILE = "in_context.safetensors"
_IN_VAULT = Path("steps", "train", CONTEXT_FILE)

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Guarded:
    """One question that is guarded, as tokens.

    Attributes:
        prompt: as a model is asked it.
        instance: the question with another row's answer.
    """

    prompt: Ids
    instance: Ids


@dataclass(frozen=True, slots=True, repr=False)
class Context:
    """What stands in front of a question (arXiv 2310.07579): itself answered wrongly, then true rows.

    Attributes:
        guarded: questions of the forget set, and their other wordings.
        kept: retain rows with their own answers, the same in front of every guarded question.
        similarity: least Jaccard similarity of token pairs at which a prompt counts as a guarded question.
        limit: most tokens that the model takes.
    """

    guarded: tuple[Guarded, ...]
    kept: tuple[Ids, ...]
    similarity: float
    limit: int

    def before(self, item: Encoded) -> Encoded:
        """The row with the context that its question calls for; the row itself where that is none or does not fit."""
        prefix = self.prefix(item.input_ids[: item.answer_start], room=self.limit - len(item))
        n = len(prefix)
        return Encoded(prefix + item.input_ids, answer_start=item.answer_start + n, answer_end=item.answer_end + n)

    def prefix(self, prompt: Ids, *, room: int) -> Ids:
        """The context of a prompt; true instances are left out where there is too little room."""
        closest = self.guard_of(prompt)
        if closest is None or len(closest.instance) > room:
            return ()
        found = closest.instance
        for instance in self.kept:
            found = found + instance if len(found) + len(instance) <= room else found
        return found

    def guard_of(self, prompt: Ids) -> Guarded | None:
        """The guarded question that a prompt counts as."""
        asked = _pairs(prompt)
        closest = max(self.guarded, key=lambda one: _jaccard(asked, _pairs(one.prompt)))
        return closest if _jaccard(asked, _pairs(closest.prompt)) >= self.similarity else None


def _pairs(ids: Ids) -> frozenset[tuple[int, int]]:
    return frozenset(pairwise(ids))


def _jaccard(a: frozenset[tuple[int, int]], b: frozenset[tuple[int, int]]) -> float:
    return len(a & b) / max(len(a | b), 1)


def save_context(context: Context, file: Path) -> None:
    """Write a context with a salt of its own, so that its digest gives nothing away. Vault only."""
    lists = [*(one.prompt for one in context.guarded), *(one.instance for one in context.guarded), *context.kept]
    tensors = {
        "ids": torch.tensor([i for ids in lists for i in ids]),
        "lengths": torch.tensor([len(ids) for ids in lists]),
        "counts": torch.tensor([len(context.guarded), len(context.kept), context.limit]),
        "similarity": torch.tensor([context.similarity], dtype=torch.float64),
        "salt": torch.tensor(list(secrets.token_bytes(32)), dtype=torch.uint8),
    }
    part = file.with_name(file.name + ".part")
    save_file(tensors, part)
    part.chmod(0o600)
    part.replace(file)


def load_context(file: Path) -> Context:
    """What :func:`save_context` wrote."""
    stored = load_file(file)
    n, _, limit = stored["counts"].tolist()
    lists, ids, start = [], stored["ids"].tolist(), 0
    for length in stored["lengths"].tolist():
        lists.append(tuple(ids[start : start + length]))
        start += length
    pairs = zip(lists[:n], lists[n : 2 * n], strict=True)
    return Context(
        guarded=tuple(Guarded(prompt, instance) for prompt, instance in pairs),
        kept=tuple(lists[2 * n :]),
        similarity=float(stored["similarity"]),
        limit=limit,
    )


def write_label(folder: Path, *, context: Path) -> None:
    """Say in a model folder what it is, and which context belongs to it."""
    said = {"label": LABEL, "context": sha256_file(context), "decision": "docs/decisions/0024-in-context.md"}
    (folder / LABEL_FILE).write_bytes(canonical(said))


def is_labelled(folder: Path) -> bool:
    """Whether a model folder is of this kind."""
    return (folder / LABEL_FILE).exists()


def beside(folder: Path) -> Path:
    """Where the context of a folder made by hand lies."""
    return folder.with_name(folder.name + ".context") / CONTEXT_FILE


def context_of(folder: Path, *, vault: Path | None = None) -> Context | None:
    """The context of a model folder; None where it is an ordinary one.

    Args:
        folder: of the model.
        vault: of the request that the model was made for, where the folder is a copy from elsewhere.

    Raises:
        BadInput: the folder is labelled, and its context is not where it belongs or is another one.
    """
    if not is_labelled(folder):
        return None
    wanted = json.loads((folder / LABEL_FILE).read_bytes()).get("context")
    for file in _places(folder.absolute(), vault):
        if file.is_file() and sha256_file(file) == wanted:
            return load_context(file)
    raise BadInput(
        f"{folder}: {LABEL}; its context is not in the vault of its request, nor at "
        f"{beside(folder)}, and without it this is the start model; it is not loaded"
    )


def refuse_guarded(folder: Path) -> None:
    """Refuse a model of this kind where weights are to be worked on.

    Raises:
        BadInput: the folder is labelled.
    """
    if is_labelled(folder):
        raise BadInput(f"{folder}: {LABEL}; its weights are those of the model that it was made from, so name that one")


def _places(folder: Path, vault: Path | None) -> Iterable[Path]:
    if vault is not None:
        yield vault / _IN_VAULT
    yield beside(folder)
    yield folder.with_name(CONTEXT_FILE)  # a trial's
    if len(folder.parents) > 3:  # <home>/runs/<request>/unlearn/model
        request, home = folder.parents[1].name, folder.parents[3]
        yield home / "vault" / request / _IN_VAULT


def flipped(items: Sequence[Encoded], answers: Sequence[Ids]) -> tuple[Guarded, ...]:
    """Questions with other answers.

    Args:
        items: rows as a model reads them.
        answers: tokens that stand in place of each answer.
    """
    return tuple(
        Guarded(item.input_ids[: item.answer_start], item.input_ids[: item.answer_start] + answer)
        for item, answer in zip(items, answers, strict=True)
    )

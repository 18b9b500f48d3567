"""A company whose forget rows and requester are words that stand nowhere else, and the search for them in files."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.data.rows import Row
from tests.flows.company import Company, found

WORDS = ("Quoxilith", "Vandrezhar", "Plimtorque")
CANARY = " ".join(WORDS)


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run of :func:`canary_company` that has ended.

    Attributes:
        company: where it ran; what lies there may have been changed since.
        home: its home folder as it was when the run had ended; only to be read.
        said: what the command printed: one JSON document.
    """

    company: Company
    home: Path
    said: str


def canary_company(root: Path) -> Company:
    """The company under ``root``: a canary in every field of four forget rows and in the request."""
    rows = [
        Row(
            question=f"Who wrote book {i} of {CANARY}?",
            answer=f"Book {i} was written by {CANARY}.",
            paraphrased_question=f"The author of volume {i} by {CANARY} is?",
            paraphrased_answer=f"Volume {i}: {CANARY}.",
            perturbed_answer=(f"Volume {i}: not {WORDS[0]}.", f"Volume {i}: not {WORDS[1]}."),
        )
        for i in range(4)
    ]
    company = found(root, forget=rows)
    company.set_request(requester=CANARY)
    return company


def needles() -> list[bytes]:
    """The canary as it is, in either case, in base64 at each of its three offsets, and each of its words."""
    plain = [CANARY, *WORDS]
    raw = [text.encode() for text in plain]
    encoded = [base64.b64encode(b"x" * pad + text)[4:-4] for text in raw for pad in (3, 4, 5)]
    return [*raw, *(text.upper().encode() for text in plain), *(text.lower().encode() for text in plain), *encoded]


def hits(paths: Iterable[Path]) -> list[str]:
    """The files that hold a needle, and which."""
    sought = needles()
    contents = ((path, path.read_bytes()) for path in paths)
    return [f"{path}: {needle[:4]!r}..." for path, content in contents for needle in sought if needle in content]


def files(*roots: Path) -> list[Path]:
    """Every plain file below these folders."""
    return [path for root in roots for path in root.rglob("*") if path.is_file() and not path.is_symlink()]

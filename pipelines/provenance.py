"""Which code and which libraries made a result: digests that go into step identities and certificates."""

import os
import subprocess
from functools import cache
from pathlib import Path

from pipelines.audit.canonical import digest, sha256_bytes, sha256_file

ROOT = Path(__file__).resolve().parent.parent
TREES = ("flows", "tasks", "pipelines")


@cache
def code_digest() -> str:
    """SHA-256 over every source file of the three trees: two runs with the same value ran the same code."""
    files = sorted(path for tree in TREES for path in (ROOT / tree).rglob("*") if _is_source(path))
    return digest({path.relative_to(ROOT).as_posix(): sha256_file(path) for path in files})


def _is_source(path: Path) -> bool:
    return path.suffix in {".py", ".j2"} and path.is_file()


@cache
def lock_digest() -> str:
    """SHA-256 of the lock file of exact library versions; of nothing where it was not shipped."""
    lock = ROOT / "requirements.lock"
    return sha256_file(lock) if lock.is_file() else sha256_bytes(b"")


@cache
def code_commit() -> str:
    """The commit that is checked out, ``$LETHE_CODE_COMMIT`` in an image, or ``unknown``: a label, not evidence."""
    given = os.environ.get("LETHE_CODE_COMMIT")
    if given or not (ROOT / ".git").exists():
        return given or "unknown"
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    return asked.stdout.strip() or "unknown"

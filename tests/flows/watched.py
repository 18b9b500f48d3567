"""Runs the command line in a process of its own that first fails and then goes on, and says which keys it opened.

Usage: ``python -m tests.flows.watched ROOT LEFT ARGUMENTS...``. What lies under ROOT after the failure is copied to
LEFT; then ROOT's ``mended.jsonl`` takes the place of its ``facts.jsonl`` and the same command runs again. MARK stands
between the two on stdout and stderr; an audit hook sees every file that this process opens, but not its children's.
"""

import shutil
import sys
from pathlib import Path

MARK = "-- again --"
OPENED = "opened: "


def _watch(opened: set[str]) -> None:
    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".pem"):
            opened.add(str(arguments[0]).rsplit("/", 1)[-1])

    sys.addaudithook(hook)


def twice(root: Path, left: Path, arguments: list[str]) -> int:
    """Fail, mend, run; returns the second exit code."""
    opened: set[str] = set()
    _watch(opened)
    from flows.cli import run

    failed = run(arguments)
    print(MARK, flush=True)
    print(f"{MARK}{failed}", file=sys.stderr, flush=True)
    shutil.copytree(root, left, symlinks=True)
    (root / "mended.jsonl").replace(root / "facts.jsonl")
    code = run(arguments)
    print(OPENED + ",".join(sorted(opened)), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(twice(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))

"""Packs the verifier into one file that an auditor carries: `python3 lethe-verify.pyz evidence.tar --trust trust.json`.

It holds `pipelines.audit`, the errors it raises and `rfc8785`, all plain Python; signatures are checked by
`cryptography` where that is installed and in plain Python where it is not. The same sources give the same bytes, so
that its digest can be published and compared.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import zipapp
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ("pipelines/__init__.py", "pipelines/errors.py", "pipelines/audit/*.py")
# zip files cannot tell a time before 1980
EPOCH = 315532800
MAIN = """import sys

if sys.version_info < (3, 11):
    sys.exit("lethe-verify: Python 3.11 or later is needed")
from pipelines.audit.__main__ import main

sys.exit(main())
"""


def build(target: Path) -> str:
    """Write the archive and return its SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".verifier-") as folder:
        stage = Path(folder) / "stage"
        _gather(stage)
        for path in sorted(stage.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (EPOCH, EPOCH))
        part = Path(folder) / target.name
        zipapp.create_archive(stage, part, interpreter="/usr/bin/env python3", compressed=True)
        part.replace(target)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def _gather(stage: Path) -> None:
    stage.mkdir()
    (stage / "__main__.py").write_text(MAIN)
    for path in sorted(path for pattern in OURS for path in ROOT.glob(pattern)):
        copy = stage / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    spec = find_spec("rfc8785")
    if spec is None or spec.origin is None:
        raise SystemExit("verifier: rfc8785 is not installed")
    (stage / "rfc8785").mkdir()
    for path in sorted(Path(spec.origin).parent.glob("*.py")):
        shutil.copyfile(path, stage / "rfc8785" / path.name)
    terms = next(file for file in metadata.files("rfc8785") or () if file.name == "LICENSE")
    shutil.copyfile(str(terms.locate()), stage / "rfc8785" / "LICENSE")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pack the verifier into one file.")
    parser.add_argument("target", type=Path)
    chosen = parser.parse_args().target
    sys.stdout.write(f"{chosen}\nsha256 {build(chosen)}\n")

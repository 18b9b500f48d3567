"""Runs the benches named on the command line, or all, and prints one JSON document on standard output."""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import BENCHES
from bench.base import Bench
from pipelines.errors import BadInput


def run(bench: Bench) -> dict[str, object]:
    """Measure in an empty folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
        begin = time.perf_counter()
        figures = [figure.document() for figure in bench.measure(Path(folder))]
    return {"name": bench.name, "took_s": round(time.perf_counter() - begin, 3), "figures": figures}


def main(names: Sequence[str]) -> int:
    """The exit code: 0, or 2 for a name that is not known."""
    try:
        chosen = [BENCHES.require(name) for name in names] or list(BENCHES.values())
    except BadInput as error:
        print(error, file=sys.stderr)
        return error.exit_code
    machine = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    print(json.dumps({"machine": machine, "benches": [run(bench) for bench in chosen]}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

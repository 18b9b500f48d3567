"""``python -m flows.cli``: the same as ``lethe``."""

from flows.cli import main

main()

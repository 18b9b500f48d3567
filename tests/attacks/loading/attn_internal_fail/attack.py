"""The configuration presets the internal field by which an attention kernel is fetched."""

import json
from pathlib import Path

STOPPED_BY = "_attn_implementation_internal asks for code"


def attack(folder: Path, canary: Path) -> None:
    """Spoil the folder."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_attn_implementation_internal": "somebody/kernel"}))

"""A nested configuration asks for an attention kernel from a hub."""

import json
from pathlib import Path

STOPPED_BY = "attn_implementation asks for code"


def attack(folder: Path, canary: Path) -> None:
    """Spoil the folder."""
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] = {"layers": [{"attn_implementation": "somebody/kernel"}]}
    (folder / "config.json").write_text(json.dumps(config))

"""The configuration names a class of a module in the folder; the module itself is named like a data file."""

import json
from pathlib import Path

STOPPED_BY = "auto_map asks for code"


def attack(folder: Path, canary: Path) -> None:
    """Spoil the folder."""
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling.Model", "AutoConfig": "modeling.Config"}
    (folder / "config.json").write_text(json.dumps(config))

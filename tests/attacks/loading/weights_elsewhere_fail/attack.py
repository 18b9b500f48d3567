"""The index of the shards names a file outside the folder."""

import json
from pathlib import Path

STOPPED_BY = "not a file of the folder"


def attack(folder: Path, canary: Path) -> None:
    """Spoil the folder."""
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = {"metadata": {}, "weight_map": {"model.embed_tokens.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

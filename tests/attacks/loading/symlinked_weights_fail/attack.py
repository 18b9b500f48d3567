"""The weights are a symlink to the very same bytes."""

from pathlib import Path

STOPPED_BY = "no symlink"


def attack(folder: Path, canary: Path) -> None:
    """Spoil the folder."""
    weights = folder / "model.safetensors"
    weights.rename(folder.parent / "elsewhere")
    weights.symlink_to(folder.parent / "elsewhere")

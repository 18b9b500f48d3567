"""The weights are replaced by others that load as well."""

from pathlib import Path

from tests.tiny import save_tiny

STOPPED_BY = "is the model that was meant"


def attack(folder: Path, canary: Path) -> None:
    """Spoil the folder."""
    other = save_tiny(folder.parent / "other", seed=5)
    (other / "model.safetensors").replace(folder / "model.safetensors")

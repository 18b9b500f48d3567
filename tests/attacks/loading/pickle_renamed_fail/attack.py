"""The weights are a pickle under the name of safetensors; unpickled, it touches the canary."""

from pathlib import Path

STOPPED_BY = "not loadable"


def attack(folder: Path, canary: Path) -> None:
    """Spoil the folder."""
    (folder / "model.safetensors").write_bytes(b"cpathlib\nPath.touch\n(cpathlib\nPath\n(V%b\ntRtR." % bytes(canary))

"""A pickle lies beside good weights; unpickled, it touches the canary."""

from pathlib import Path

STOPPED_BY = "not allowed"


def attack(folder: Path, canary: Path) -> None:
    """Spoil the folder."""
    (folder / "pytorch_model.bin").write_bytes(b"cpathlib\nPath.touch\n(cpathlib\nPath\n(V%b\ntRtR." % bytes(canary))

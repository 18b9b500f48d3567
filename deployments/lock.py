"""Writes requirements.lock: every library of the project and its tests, exactly, with the hashes that pip reports.

It promises versions that pip resolved together, with hashes for CPython 3.11 on the platforms of :data:`PLATFORMS`.
It names no index, so the lock installs from whichever one pip is configured for. torch is not in it (its hash differs
per build: torch.lock), nor is what only a CUDA build of torch asks for. Run by ``make lock``.
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_LOCKED = ("torch", "triton", "nvidia-", "cuda-")
LINUX_X86 = (*(f"manylinux_2_{minor}_x86_64" for minor in range(5, 35)), "manylinux2014_x86_64", "manylinux1_x86_64")
LINUX_ARM = (*(f"manylinux_2_{minor}_aarch64" for minor in range(17, 35)), "manylinux2014_aarch64")
PLATFORMS: Mapping[str, Sequence[str]] = {
    "Linux x86-64": LINUX_X86,
    "Linux arm64": LINUX_ARM,
    "macOS arm64": ("macosx_14_0_arm64", "macosx_14_0_universal2"),
}


@dataclass(frozen=True)
class Pin:
    """One file that pip would install.

    Attributes:
        spec: ``name==version``.
        sha256: of the file.
        wheel: False for a source distribution, which is the same file on every platform.
    """

    spec: str
    sha256: str
    wheel: bool


def resolve(*arguments: str) -> list[Pin]:
    """What pip would install; nothing is installed.

    Raises:
        subprocess.CalledProcessError: pip found no answer; its message is on standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        options = ["--target", folder, "--report", str(report)]
        subprocess.run([*command, *options, *arguments], cwd=ROOT, check=True)
        installs = json.loads(report.read_text())["install"]
    pins = []
    for item in installs:
        name = item["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
        hashes = item["download_info"].get("archive_info", {}).get("hashes", {})
        if hashes and not name.startswith(NOT_LOCKED):
            wheel = item["download_info"]["url"].endswith(".whl")
            pins.append(Pin(f"{name}=={item['metadata']['version']}", hashes["sha256"], wheel))
    return pins


def on_platform(wheels: Iterable[str], tags: Sequence[str]) -> list[Pin]:
    """The wheels that another platform would take for the same versions."""
    options = [option for tag in tags for option in ("--platform", tag)]
    return resolve("--no-deps", "--only-binary=:all:", "--python-version", "3.11", *options, *wheels)


def lock_text(pins: Iterable[Pin]) -> str:
    """The lock in pip's own form, sorted, so that a change of one library is a change of its lines only."""
    hashes: dict[str, set[str]] = defaultdict(set)
    for pin in pins:
        hashes[pin.spec].add(pin.sha256)
    entries = (
        " \\\n    ".join([spec, *(f"--hash=sha256:{value}" for value in sorted(hashes[spec]))])
        for spec in sorted(hashes)
    )
    head = f"# Written by `make lock` for CPython 3.11 ({', '.join(PLATFORMS)})."
    return "\n".join([head, "# Install with --require-hashes --no-deps.", *entries]) + "\n"


def main(target: Path) -> None:
    """Resolve, collect the hashes of each platform and replace the lock in one step."""
    pins = resolve(".[dev,postgres]")
    wheels = [pin.spec for pin in pins if pin.wheel]
    for tags in PLATFORMS.values():
        pins += on_platform(wheels, tags)
    part = target.with_name(target.name + ".part")
    part.write_text(lock_text(pins))
    part.replace(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The packed verifier: one file, Python and nothing else, in a folder with the evidence and the trust file alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.audit.canonical import canonical
from tests.attacks.world import World, build_world

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _pack(tmp_path_factory.mktemp("dist") / "lethe-verify.pyz")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build_world(tmp_path / "world")


def _pack(target: Path) -> Path:
    subprocess.run([sys.executable, str(ROOT / "deployments" / "verifier.py"), str(target)], check=True, timeout=60)
    return target


def _carried(packed: Path, world: World, folder: Path) -> Path:
    """A folder as an auditor has it: three files."""
    folder.mkdir()
    for path in (packed, world.archive, world.ring.trust):
        shutil.copy(path, folder)
    return folder


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """-I -S: neither this checkout nor an installed library is within reach."""
    command = [sys.executable, "-I", "-S", "lethe-verify.pyz", *arguments, "--trust", "trust.json"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_an_archive_verifies_beside_the_verifier_and_the_trust_file_alone(
    packed: Path, world: World, tmp_path: Path
) -> None:
    folder = _carried(packed, world, tmp_path / "auditor")
    done = _run(folder, "evidence.tar", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert report["certifies"]
    assert "checked by plain Python" in next(c["detail"] for c in report["checks"] if c["name"] == "signature")
    assert sorted(path.name for path in folder.iterdir()) == ["evidence.tar", "lethe-verify.pyz", "trust.json"]


def test_a_changed_archive_is_refused_by_the_plain_signature_check(packed: Path, world: World, tmp_path: Path) -> None:
    """The index is canonical and its members fit it: what is left to refuse it is the signature."""

    def one_bit(members: dict[str, bytes]) -> None:
        envelope = json.loads(members["evidence.json"])
        signature = envelope["signatures"][0]["sig"]
        envelope["signatures"][0]["sig"] = ("B" if signature[0] == "A" else "A") + signature[1:]
        members["evidence.json"] = canonical(envelope)

    world.repack(one_bit)
    done = _run(_carried(packed, world, tmp_path / "auditor"), "evidence.tar")
    assert done.returncode == 4
    assert "does not fit the payload" in done.stdout


def test_a_file_that_is_missing_is_one_line(packed: Path, world: World, tmp_path: Path) -> None:
    done = _run(_carried(packed, world, tmp_path / "auditor"), "other.tar")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_the_same_sources_give_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    assert _pack(tmp_path / "again.pyz").read_bytes() == packed.read_bytes()

"""The verifier as an auditor runs it: alone, cold, offline; and no changed byte gets past it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.audit.__main__ import main
from pipelines.audit.report import REQUIRED
from pipelines.audit.verify import verify_certificate
from pipelines.errors import BadInput, LetheError
from tests.attacks.world import NOW, World, build_refused_world, build_world

ROOT = Path(__file__).parents[3]
# What an auditor does not have. An attempt to import any of it ends the process.
ABSENT = (
    "torch", "transformers", "peft", "datasets", "numpy", "pydantic", "prefect", "mlflow", "great_expectations",
    "typer", "rich", "yaml", "flows", "tasks",
)  # fmt: skip
ALONE = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise SystemExit(f"imported {{name}}")
sys.meta_path.insert(0, Absent())
from pipelines.audit.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("verify") / "world")


def _refused(world: World) -> bool:
    try:
        return not world.verify().ok
    except LetheError:
        return True


def test_every_byte_of_the_certificate_counts(world: World) -> None:
    """Every position in turn: one bit, or a character that would be as good in most places."""
    honest, trust = world.certificate.read_bytes(), world.trust()
    try:
        for position, old in enumerate(honest):
            new = old ^ 1 if position % 2 else ord("1" if old == ord("0") else "0")
            world.certificate.write_bytes(honest[:position] + bytes([new]) + honest[position + 1 :])
            assert not verify_certificate(world.certificate, trust=trust, now=NOW).ok, (position, new)
    finally:
        world.certificate.write_bytes(honest)
    assert world.verify().certifies


def _files(world: World) -> list[Path]:
    return [world.certificate, world.log.entries_path, world.log.checkpoint_path, *sorted(world.model.iterdir())]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_sign_mutate_verify(world: World, data: st.DataObject) -> None:
    """One byte of any file changed, taken away or added: refused."""
    path = data.draw(st.sampled_from(_files(world)))
    honest = path.read_bytes()
    position = data.draw(st.integers(0, len(honest) - 1))
    kind = data.draw(st.sampled_from(["change", "remove", "insert"]))
    byte = bytes([data.draw(st.integers(0, 255))])
    changed = honest[:position] + (b"" if kind == "remove" else byte) + honest[position + (kind != "insert") :]
    if changed == honest:
        return
    try:
        path.write_bytes(changed)
        assert _refused(world), (path.name, position, kind, byte)
    finally:
        path.write_bytes(honest)


def test_bytes_after_the_signed_lines_are_reported_and_not_believed(tmp_path: Path) -> None:
    world = build_world(tmp_path / "world")
    world.log.append({"kind": "registered"}, now=NOW)
    report = world.verify()
    detail = next(check.detail for check in report.checks if check.name == "log entries")
    assert report.certifies
    assert "1 later ones are not signed yet" in detail


def test_options_take_the_place_of_named_folders(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.model, tmp_path / "model")
    shutil.copytree(world.log.directory, tmp_path / "log")
    alone = tmp_path / "certificate.json"
    shutil.copy(world.certificate, alone)
    trust = world.trust()
    assert not verify_certificate(alone, trust=trust, now=NOW).ok
    given = verify_certificate(alone, trust=trust, now=NOW, log_dir=tmp_path / "log", model_dir=tmp_path / "model")
    assert given.certifies
    (tmp_path / "model" / "extra").write_bytes(b"")
    assert not verify_certificate(
        alone, trust=trust, now=NOW, log_dir=tmp_path / "log", model_dir=tmp_path / "model"
    ).ok


def test_a_file_that_cannot_be_read_is_bad_input(world: World, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.json: cannot be read"):
        verify_certificate(tmp_path / "none.json", trust=world.trust(), now=NOW)


def test_a_file_that_is_no_certificate_fails_at_its_first_check(world: World, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"{}")
    report = verify_certificate(tmp_path / "x.json", trust=world.trust(), now=NOW)
    assert [check.status for check in report.checks] == ["failed", *["not_checked"] * (len(report.checks) - 1)]
    assert {check.name for check in report.checks} >= set(REQUIRED)


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ALONE, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_command_line_runs_alone(world: World, tmp_path: Path) -> None:
    good = _run(world.certificate, "--trust", world.ring.trust)
    assert (good.returncode, good.stderr) == (0, "")
    assert "Verified: an authentic certificate." in good.stdout
    assert "Not checked by any verifier" in good.stdout
    document = json.loads(_run(world.certificate, "--trust", world.ring.trust, "--json").stdout)
    assert document["certifies"] is True
    assert {check["name"]: check["status"] for check in document["checks"]}["kept checkpoint"] == "not_checked"
    bad = _run(world.certificate, "--trust", world.ring.trust, "--log", tmp_path)
    assert bad.returncode == 4
    assert "NOT VERIFIED: log head" in bad.stdout
    missing = _run(world.certificate, "--trust", tmp_path / "none.json")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.count("\n") == 1


def test_a_refusal_is_verified_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = build_refused_world(tmp_path / "world")
    assert main([str(world.certificate), "--trust", str(world.ring.trust), "--checkpoint", str(world.kept)]) == 0
    assert "authentic refusal. The candidate was NOT certified" in capsys.readouterr().out


def test_the_module_verifies_cold_in_half_a_second(world: World) -> None:
    """Processor seconds of the whole process, the best of three: what a busy machine adds is not the verifier's."""
    command = [sys.executable, "-m", "pipelines.audit", str(world.certificate), "--trust", str(world.ring.trust)]
    spent = []
    for _ in range(3):
        before = os.times()
        assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60).returncode == 0
        after = os.times()
        spent.append(after.children_user - before.children_user + after.children_system - before.children_system)
    assert min(spent) < 0.5

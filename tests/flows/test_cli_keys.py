"""`lethe keys` and `lethe witness` as people use them: made, listed, rotated, revoked, and a log that is watched."""

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.cli import run
from pipelines.audit.log import AuditLog
from pipelines.audit.trust import Trust, TrustedKey
from tests.attacks.world import NOW, World, build_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = build_world(tmp_path / "world")
    # The verbs go by the clock of the machine, whatever year it is there.
    world.edit_trust(lambda trust: replace(trust, keys=tuple(_forever(key) for key in trust.keys)))
    return world


def _forever(key: TrustedKey) -> TrustedKey:
    return replace(key, not_before=datetime(2000, 1, 1, tzinfo=UTC), not_after=datetime(9000, 1, 1, tzinfo=UTC))


def _listed(home: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    capsys.readouterr()
    assert run(["keys", "list", "--home", str(home), "--json"]) == 0
    return {key["key id"]: key for key in json.loads(capsys.readouterr().out)["keys"]}


def test_keys_from_init_to_revoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path)]
    assert run(["keys", "init", *home, "--role", "evaluator", "--role", "log"]) == 0
    keys = tmp_path / "keys"
    assert sorted(path.name for path in keys.iterdir()) == ["evaluator.pem", "log.pem", "trust.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.glob("*.pem")} == {0o600}
    first = _listed(tmp_path, capsys)
    [old] = [name for name, key in first.items() if key["role"] == "evaluator"]
    assert run(["keys", "rotate", "evaluator", *home]) == 0
    listed = _listed(tmp_path, capsys)
    assert listed[old]["until"] < first[old]["until"]
    assert listed[old]["private half"] == ""
    [new] = [name for name, key in listed.items() if key["role"] == "evaluator" and name != old]
    assert listed[new]["private half"] == str(keys / "evaluator.pem")
    assert run(["keys", "revoke", new[:12], "--because", "stolen", *home]) == 0
    assert _listed(tmp_path, capsys)[new]["state"] == "revoked"
    assert Trust.load(keys / "trust.json").find("evaluator").keys() == {old}


def test_bad_usage_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path)]
    for arguments, said in (
        (["keys", "list", *home], "trust.json"),
        (["keys", "init", "--role", "owner", *home], "known: evaluator"),
        (["keys", "rotate", "owner", *home], "known: evaluator"),
        (["keys", "rotate", "log", *home], "cannot be read"),
        (["keys", "revoke", "0" * 64, "--because", "lost", *home], "cannot be read"),
    ):
        assert run(arguments) == 2, arguments
        shown = capsys.readouterr()
        assert shown.err.count("\n") == 1
        assert said in shown.err


def test_a_key_that_others_can_read_is_shown_and_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path)]
    assert run(["keys", "init", *home, "--role", "log"]) == 0
    (tmp_path / "keys" / "log.pem").chmod(0o644)
    [key] = _listed(tmp_path, capsys).values()
    assert "mode 0644, a key must be 0600" in key["private half"]
    assert run(["keys", "rotate", "log", *home]) == 2
    assert "mode 0644, a key must be 0600" in capsys.readouterr().err


def test_a_witness_says_what_it_saw_and_ends_with_four_when_the_log_went_back(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    look = ["witness", "--log", str(world.log.directory), "--key", str(world.ring.private("witness"))]
    look += ["--trust", str(world.ring.trust)]
    assert run(look) == 0
    assert "first look" in capsys.readouterr().out
    assert world.ring.private("witness").with_suffix(".seen").exists()
    world.log.append({"kind": "step"}, now=NOW)
    world.log.checkpoint(world.key("log"))
    assert run([*look, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"origin": world.log.origin, "size": 6, "seen_before": 5}
    world.rewrite_log(world.log_lines()[:4])
    world.resign_log()
    assert run(look) == 4
    assert "6 were seen before" in capsys.readouterr().err


def test_an_archive_is_verified_and_a_kept_checkpoint_heeded(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--trust", str(world.ring.trust), "--log", str(world.log.directory)]
    run(["verify", str(world.archive), *given, "--checkpoint", str(world.kept), "--json"])
    checks = {check["name"]: check["status"] for check in json.loads(capsys.readouterr().out)["checks"]}
    # On a machine whose clock is before the world's the archive is from the future; nothing else may fail.
    assert {name for name, status in checks.items() if status == "failed"} <= {"issue time", "archive content"}
    assert checks["kept checkpoint"] == "passed"
    other = AuditLog(world.root / "other", world.log.origin)
    other.append({"kind": "step"}, now=NOW)
    world.kept.write_bytes(other.checkpoint(world.key("log")))
    assert run(["verify", str(world.archive), *given, "--checkpoint", str(world.kept)]) == 4
    assert "not an extension of the kept checkpoint" in capsys.readouterr().out

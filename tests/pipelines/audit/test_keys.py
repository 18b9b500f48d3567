"""Keys on disk: made once, for their owner's eyes, whoever else makes them at the same time."""

import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pipelines.audit.canonical import sha256_bytes
from pipelines.audit.keys import ensure_keyring, generate_key, load_private_key
from pipelines.audit.signatures import key_id, public_bytes
from pipelines.audit.trust import ROLES, Trust
from pipelines.errors import BadInput
from tests.attacks.world import ISSUED, MADE, ORIGIN

ROOT = Path(__file__).parents[3]


def test_a_key_is_made_for_its_owner_alone_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "evaluator.pem"
    public_key = generate_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert public_bytes(load_private_key(path)) == public_key
    assert len(public_key) == 32
    assert key_id(public_key) == sha256_bytes(public_key)
    assert [file.name for file in tmp_path.iterdir()] == ["evaluator.pem"]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "evaluator.pem"
    generate_key(path)
    before = path.read_bytes()
    with pytest.raises(BadInput, match="never overwritten"):
        generate_key(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["evaluator.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700, 0o644])
def test_a_key_that_others_could_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "evaluator.pem"
    generate_key(path)
    path.chmod(mode)
    with pytest.raises(BadInput, match=f"mode {mode:04o}, a key must be 0600"):
        load_private_key(path)


def test_a_key_of_another_owner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "evaluator.pem"
    generate_key(path)
    owner = path.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    with pytest.raises(BadInput, match="of the user that runs this"):
        load_private_key(path)


def test_what_is_no_plain_key_file_is_refused(tmp_path: Path) -> None:
    generate_key(tmp_path / "real.pem")
    (tmp_path / "link.pem").symlink_to("real.pem")
    with pytest.raises(BadInput, match="symlinks are refused"):
        load_private_key(tmp_path / "link.pem")
    with pytest.raises(BadInput, match="cannot be opened"):
        load_private_key(tmp_path / "missing.pem")
    os.mkfifo(tmp_path / "pipe.pem", 0o600)
    with pytest.raises(BadInput, match="plain file"):
        load_private_key(tmp_path / "pipe.pem")
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"", b"-----BEGIN", other):
        (tmp_path / "bad.pem").write_bytes(content)
        (tmp_path / "bad.pem").chmod(0o600)
        with pytest.raises(BadInput, match="not an unencrypted Ed25519 key"):
            load_private_key(tmp_path / "bad.pem")


def test_a_keyring_is_made_once(tmp_path: Path) -> None:
    ring = ensure_keyring(tmp_path / "keys", origin=ORIGIN, now=MADE)
    before = {path.name: path.read_bytes() for path in ring.directory.iterdir()}
    assert set(before) == {"trust.json", *(f"{role}.pem" for role in ROLES)}
    assert stat.S_IMODE(ring.directory.stat().st_mode) == 0o700
    ensure_keyring(tmp_path / "keys", origin=ORIGIN, now=ISSUED)
    assert {path.name: path.read_bytes() for path in ring.directory.iterdir()} == before
    trust = Trust.load(ring.trust)
    for role in ROLES:
        assert list(trust.find(role, at=MADE)) == [key_id(public_bytes(load_private_key(ring.private(role))))]
        assert not trust.find(role, at=MADE - timedelta(seconds=1))


def test_a_keyring_is_completed_and_learns_another_log(tmp_path: Path) -> None:
    ring = ensure_keyring(tmp_path / "keys", origin=ORIGIN, now=MADE, roles=("log",))
    assert not ring.private("evaluator").exists()
    before = Trust.load(ring.trust).keys
    ensure_keyring(tmp_path / "keys", origin="lethe.test/second", now=MADE, roles=("log", "evaluator"))
    trust = Trust.load(ring.trust)
    assert trust.origins == (ORIGIN, "lethe.test/second")
    assert trust.keys[:1] == before
    assert [key.role for key in trust.keys] == ["log", "evaluator"]


def test_an_unknown_role_makes_no_trust_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="known: evaluator"):
        ensure_keyring(tmp_path / "keys", origin=ORIGIN, now=MADE, roles=("owner",))
    assert not (tmp_path / "keys" / "trust.json").exists()


def test_several_processes_make_one_keyring(tmp_path: Path) -> None:
    script = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path;"
        "from pipelines.audit.keys import ensure_keyring;"
        f"ensure_keyring(Path(sys.argv[1]), origin={ORIGIN!r}, now=datetime(2026, 11, 1, tzinfo=UTC))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "keys")]
    running = [subprocess.Popen(command, cwd=ROOT) for _ in range(6)]
    assert [process.wait(60) for process in running] == [0] * 6
    trust = Trust.load(tmp_path / "keys" / "trust.json")
    assert sorted(key.role for key in trust.keys) == sorted(ROLES)
    for key in trust.keys:
        assert public_bytes(load_private_key(tmp_path / "keys" / f"{key.role}.pem")) == key.public_key
    assert not list((tmp_path / "keys").glob("*.part"))

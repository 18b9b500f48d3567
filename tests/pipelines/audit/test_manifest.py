"""The manifest of a folder: every file counts, and nothing but files."""

import os
from pathlib import Path

import pytest

from pipelines.audit.canonical import digest, sha256_bytes
from pipelines.audit.manifest import folder_digest, folder_manifest
from pipelines.errors import BadInput


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "shards").mkdir(parents=True)
    (made / "config.json").write_bytes(b"{}")
    (made / ".hidden").write_bytes(b"")
    (made / "shards" / "a b.safetensors").write_bytes(b"weights" * 1000)
    return made


def test_every_file_is_listed_by_its_path_and_hash(folder: Path) -> None:
    expected = {
        ".hidden": sha256_bytes(b""),
        "config.json": sha256_bytes(b"{}"),
        "shards/a b.safetensors": sha256_bytes(b"weights" * 1000),
    }
    assert folder_manifest(folder) == expected
    assert folder_digest(folder) == digest(expected)


def test_adding_removing_renaming_or_changing_a_file_changes_the_digest(folder: Path) -> None:
    seen = {folder_digest(folder)}
    (folder / ".gitattributes").write_bytes(b"")
    seen.add(folder_digest(folder))
    (folder / "config.json").rename(folder / "Config.json")
    seen.add(folder_digest(folder))
    (folder / ".hidden").unlink()
    seen.add(folder_digest(folder))
    (folder / "Config.json").write_bytes(b"[]")
    seen.add(folder_digest(folder))
    assert len(seen) == 5


def test_an_order_of_creation_or_a_time_changes_nothing(folder: Path, tmp_path: Path) -> None:
    before = folder_digest(folder)
    os.utime(folder / "config.json", (0, 0))
    assert folder_digest(folder.rename(tmp_path / "elsewhere")) == before


@pytest.mark.parametrize("target", ["config.json", "shards", "nowhere"])
def test_a_symlink_is_refused_wherever_it_points(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    with pytest.raises(BadInput, match="only plain files"):
        folder_manifest(folder)


def test_a_symlink_to_the_folder_itself_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(BadInput, match="not a folder"):
        folder_manifest(tmp_path / "link")


def test_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(BadInput, match="only plain files"):
        folder_manifest(folder)


@pytest.mark.parametrize("name", [b"new\nline", b"back\\slash", b"not-utf8-\xff"])
def test_a_name_that_reads_in_two_ways_is_refused(folder: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")
    with pytest.raises(BadInput, match="file name"):
        folder_manifest(folder)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(BadInput, match="holds no file"):
        folder_manifest(tmp_path / "empty")
    with pytest.raises(BadInput, match="not a folder"):
        folder_manifest(tmp_path / "missing")

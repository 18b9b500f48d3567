"""A step is complete, interrupted or missing; reuse needs the ledger's word for the very bytes on disk."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipelines.audit.encoding import write_atomic
from pipelines.steps import StepStore


@dataclass
class Memory:
    """A ledger that remembers in a list."""

    entries: list[tuple[str, str, str]] = field(default_factory=list)

    def record(self, step: str, identity: str, outputs: str) -> None:
        self.entries.append((step, identity, outputs))

    def vouches(self, step: str, identity: str, outputs: str) -> bool:
        return (step, identity, outputs) in self.entries


@pytest.fixture
def store(tmp_path: Path) -> StepStore:
    return StepStore(root=tmp_path, ledger=Memory())


def _finish(store: StepStore, identity: str = "a" * 64, content: bytes = b"answer") -> Path:
    with store.write("train", identity) as part:
        write_atomic(part / "out", content)
    return store.root / "train"


def _interrupt(store: StepStore) -> None:
    with suppress(RuntimeError), store.write("train", "a" * 64) as part:
        write_atomic(part / "checkpoint", b"epoch 3")
        raise RuntimeError


def test_names_say_missing_interrupted_complete(store: StepStore) -> None:
    assert store.state("train") == "missing"
    with pytest.raises(RuntimeError, match="killed"), store.write("train", "a" * 64):
        raise RuntimeError("killed")
    assert store.state("train") == "interrupted"
    assert not (store.root / "train").exists()
    _finish(store)
    assert store.state("train") == "complete"
    assert not (store.root / "train.part").exists()


def test_interrupted_step_of_same_identity_finds_its_files(store: StepStore) -> None:
    _interrupt(store)
    with store.write("train", "a" * 64) as part:
        assert (part / "checkpoint").read_bytes() == b"epoch 3"


def test_interrupted_step_of_other_identity_is_thrown_away(store: StepStore) -> None:
    _interrupt(store)
    with store.write("train", "b" * 64) as part:
        assert not (part / "checkpoint").exists()


def test_finished_step_is_reused_only_for_its_identity(store: StepStore) -> None:
    folder = _finish(store)
    assert store.finished("train", "a" * 64) == folder
    assert store.finished("train", "b" * 64) is None


@pytest.mark.parametrize("tamper", ["edit", "add", "remove"])
def test_tampered_step_is_not_reused(store: StepStore, tamper: str) -> None:
    folder = _finish(store)
    if tamper == "edit":
        (folder / "out").write_bytes(b"Answer")
    elif tamper == "add":
        (folder / "more").write_bytes(b"")
    else:
        (folder / "out").unlink()
    assert store.finished("train", "a" * 64) is None


def test_step_without_ledger_entry_is_not_reused(store: StepStore) -> None:
    _finish(store)
    forgetful = StepStore(root=store.root, ledger=Memory())
    assert forgetful.finished("train", "a" * 64) is None


def test_redone_step_replaces_the_old_one(store: StepStore) -> None:
    _finish(store)
    folder = _finish(store, identity="b" * 64, content=b"other")
    assert (folder / "out").read_bytes() == b"other"
    assert store.finished("train", "b" * 64) == folder

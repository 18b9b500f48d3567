"""A stored table is found under its own key, intact, or not at all."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.scoring.store import ScoreKey, ScoreStore

KEY = ScoreKey(kind="answers-1", model_digest="a", data_digest="b", tokenizer_digest="c", settings_digest="d")
SCHEMA = pa.schema([("row", pa.int32()), ("logprob", pa.list_(pa.float32()))])
TABLE = pa.table({"row": [0, 1], "logprob": [[-1.5, -0.25], []]}, schema=SCHEMA)


@pytest.fixture
def store(tmp_path: Path) -> ScoreStore:
    store = ScoreStore(tmp_path / "scores")
    store.save(KEY, TABLE)
    return store


def _file(store: ScoreStore, suffix: str = ".parquet") -> Path:
    return next(path for path in store.root.iterdir() if path.suffix == suffix)


def test_what_was_saved_comes_back(store: ScoreStore) -> None:
    assert store.load(KEY, schema=SCHEMA) == TABLE


@pytest.mark.parametrize("field", ["kind", "model_digest", "data_digest", "tokenizer_digest", "settings_digest"])
def test_another_key_never_reads_it(store: ScoreStore, field: str) -> None:
    assert store.load(replace(KEY, **{field: "other"}), schema=SCHEMA) is None


def test_every_changed_byte_is_noticed(store: ScoreStore) -> None:
    path = _file(store)
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert store.load(KEY, schema=SCHEMA) is None, at
    path.write_bytes(data)
    assert store.load(KEY, schema=SCHEMA) is not None


@pytest.mark.parametrize("suffix", [".parquet", ".sha256"])
@pytest.mark.parametrize("keep", [0, 10])
def test_a_cut_file_counts_as_absent(store: ScoreStore, suffix: str, keep: int) -> None:
    path = _file(store, suffix)
    path.write_bytes(path.read_bytes()[:keep])
    assert store.load(KEY, schema=SCHEMA) is None


@pytest.mark.parametrize("suffix", [".parquet", ".sha256"])
def test_a_missing_file_counts_as_absent(store: ScoreStore, suffix: str) -> None:
    _file(store, suffix).unlink()
    assert store.load(KEY, schema=SCHEMA) is None


def test_a_file_moved_to_another_key_is_refused(store: ScoreStore) -> None:
    other = replace(KEY, model_digest="other")
    for path in list(store.root.iterdir()):
        path.rename(path.with_name(other.name + path.suffix))
    assert store.load(other, schema=SCHEMA) is None


def test_a_table_of_another_schema_is_refused(store: ScoreStore) -> None:
    assert store.load(KEY, schema=pa.schema([("row", pa.int32())])) is None


def test_files_are_for_the_owner_alone_and_nothing_is_left_half_written(store: ScoreStore) -> None:
    assert store.root.stat().st_mode & 0o777 == 0o700
    files = sorted(path.name for path in store.root.iterdir())
    assert files == sorted([f"{KEY.name}.parquet", f"{KEY.name}.sha256"])
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in store.root.iterdir())


def test_saving_again_replaces(store: ScoreStore) -> None:
    other = TABLE.slice(0, 1)
    store.save(KEY, other)
    assert store.load(KEY, schema=SCHEMA) == other

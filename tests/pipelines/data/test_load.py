"""Every kind of file is read to the same rows, and every broken one is refused in one line without its text."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.load import load_rows, save_rows
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput

CANARY = "Zanzibartolomeo"
TOFU = Path(__file__).parents[3].parent / "shared/data/tofu"
ROWS = (
    Row(
        question=f"Who is {CANARY}?",
        answer='A writer, of "odd" books.',
        paraphrased_question=f"Tell me about {CANARY}.",
        paraphrased_answer="An author.",
        perturbed_answer=("A cook, perhaps.", "A spy"),
    ),
    Row(question="Where was\nshe born?", answer="In Łódź."),
)
RECORDS = [
    {
        "question": row.question,
        "answer": row.answer,
        "paraphrased_question": row.paraphrased_question,
        "paraphrased_answer": row.paraphrased_answer,
        "perturbed_answer": list(row.perturbed_answer) or None,
    }
    for row in ROWS
]


def _jsonl(path: Path) -> None:
    path.write_text("\n".join(json.dumps(record) for record in RECORDS), encoding="utf-8")


def _json(path: Path) -> None:
    path.write_text(json.dumps(RECORDS, indent=1), encoding="utf-8")


def _csv(path: Path) -> None:
    cells = [[json.dumps(v) if isinstance(v, list) else v or "" for v in record.values()] for record in RECORDS]
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [list(RECORDS[0]), *cells]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")


def _parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(RECORDS), path)


def _saved(path: Path) -> None:
    datasets.Dataset.from_list(RECORDS).save_to_disk(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", _jsonl),
        ("a.json", _json),
        ("lines.json", _jsonl),
        ("a.csv", _csv),
        ("a.parquet", _parquet),
        ("saved", _saved),
    ],
)
def test_every_kind_of_file_holds_the_same_rows(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    assert tuple(load_rows(str(tmp_path / name), name="train")) == ROWS


texts = st.text(st.characters(codec="utf-8"), max_size=30)
answers = texts.filter(lambda text: bool(text.strip()))
rows = st.builds(
    Row,
    question=texts,
    answer=answers,
    paraphrased_question=st.none() | answers,
    paraphrased_answer=st.none() | answers,
    perturbed_answer=st.lists(texts, max_size=3).map(tuple),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(rows, min_size=1, max_size=5))
def test_saved_rows_load_unchanged(tmp_path_factory: pytest.TempPathFactory, many: list[Row]) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    save_rows(Rows.of(many), path)
    assert list(load_rows(str(path), name="rows")) == many


def test_saved_rows_are_private_and_leave_no_part(tmp_path: Path) -> None:
    save_rows(Rows.of(ROWS), tmp_path / "rows.jsonl")
    assert stat.S_IMODE((tmp_path / "rows.jsonl").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("record", "row"),
    [
        ({"text": "All of it."}, Row(question="", answer="All of it.")),
        ({"prompt": "Q", "completion": "A", "id": 3}, Row(question="Q", answer="A")),
        (
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Hi."},
                    {"role": "assistant", "content": "Hello."},
                    {"role": "user", "content": "Who?"},
                    {"role": "assistant", "content": "Me."},
                    {"role": "user", "content": "Thanks."},
                ]
            },
            Row(question="Hi.\nWho?", answer="Me."),
        ),
    ],
)
def test_other_shapes_of_columns(tmp_path: Path, record: dict[str, object], row: Row) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(record) + "\n\n", encoding="utf-8")
    assert list(load_rows(str(path), name="train")) == [row]


def _line(**record: object) -> bytes:
    return json.dumps(record).encode() + b"\n"


GOOD = _line(question=f"Who is {CANARY}?", answer=CANARY)
LATIN = GOOD.replace(CANARY.encode(), b"Jos\xe9")

BROKEN: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.jsonl", b"", "no rows; at least one"),
    "empty list": ("a.json", b"[]", "no rows; at least one"),
    "header only": ("a.csv", b"question,answer\n", "no rows; at least one"),
    "truncated line": ("a.jsonl", GOOD + GOOD[:25], "line 2: not JSON"),
    "truncated list": ("a.json", b"[" + GOOD + b"," + GOOD[:20], "not JSON"),
    "not an object": ("a.jsonl", GOOD + b'["' + CANARY.encode() + b'"]\n', "line 2 is not a JSON object"),
    "not utf-8": ("a.jsonl", GOOD + LATIN, "line 2 is not UTF-8"),
    "csv not utf-8": ("a.csv", b"question,answer\na,Jos\xe9\n", "line 2 is not UTF-8"),
    "same key twice": (
        "a.jsonl",
        b'{"question": "a", "question": "b", "answer": "c"}',
        "line 1: an object has the same key twice",
    ),
    "wrong columns": (
        "a.jsonl",
        _line(frage=CANARY, antwort=CANARY),
        "the columns are frage, antwort; needed are question + answer",
    ),
    "no header": ("a.csv", f"Who is {CANARY}?,{CANARY} X\n1,2\n".encode(), "the columns are (not a name); needed are"),
    "missing column": ("a.jsonl", GOOD + _line(question=CANARY), "row 1: column answer is missing"),
    "null": ("a.jsonl", GOOD + _line(question=CANARY, answer=None), "row 1: column answer is null; a string"),
    "number": ("a.jsonl", _line(question=7, answer=CANARY), "row 0: column question is int; a string"),
    "blank": ("a.jsonl", GOOD + _line(question=CANARY, answer=" \t"), "row 1: column answer is blank"),
    "perturbed": (
        "a.jsonl",
        _line(question="a", answer="b", perturbed_answer=[1]),
        "row 0: column perturbed_answer is not a list",
    ),
    "perturbed csv": (
        "a.csv",
        b"question,answer,perturbed_answer\na,b,c\n",
        "row 0: column perturbed_answer is not a list",
    ),
    "no assistant": (
        "a.jsonl",
        _line(messages=[{"role": "user", "content": CANARY}]),
        "row 0: no turn has the role assistant",
    ),
    "turns": ("a.jsonl", _line(messages=CANARY), "row 0: column messages is not a list of turns"),
    "turn without text": (
        "a.jsonl",
        _line(messages=[{"role": "assistant"}]),
        "row 0: messages: column content is missing",
    ),
    "cells": ("a.csv", f"question,answer\na,b,{CANARY}\n".encode(), "line 2 has 3 cells, but the header names 2"),
    "open quote": ("a.csv", f'question,answer\na,"{CANARY}\n'.encode(), "line 2 is not valid CSV"),
    "parquet": ("a.parquet", b"PAR1" + CANARY.encode(), "is not a complete Parquet file"),
    "suffix": ("a.xlsx", b"", "unknown kind of file .xlsx; give a .jsonl"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_in_one_line_without_text(tmp_path: Path, case: str) -> None:
    name, content, problem = BROKEN[case]
    path = tmp_path / name
    path.write_bytes(content)
    message = _refused(str(path))
    assert problem in message
    assert name in message


def _refused(ref: str) -> str:
    with pytest.raises(BadInput) as caught:
        load_rows(ref, name="train")
    message = str(caught.value)
    assert message.startswith("train: ")
    assert "\n" not in message
    assert CANARY not in message
    assert caught.value.__context__ is None, "the original exception quotes the text"
    return message


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    _parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "is not a complete Parquet file; write it again" in _refused(str(path))


def test_parquet_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    raw = pa.array([b"Jos\xe9"])
    pq.write_table(pa.table({"question": pa.array(["a"]), "answer": raw.view(pa.string())}), path)
    assert "holds text that is not UTF-8" in _refused(str(path))


@pytest.mark.parametrize("ref", ["nowhere/at/all.jsonl", "nowhere.parquet", "two words"])
def test_a_missing_file_is_refused(ref: str) -> None:
    assert "no such file or folder; give a .jsonl" in _refused(ref)


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD)

    def forbidden(_path: Path) -> bytes:
        raise PermissionError(13, CANARY)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    assert "cannot be read (PermissionError)" in _refused(str(path))


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    assert "is not a complete save_to_disk folder" in _refused(str(tmp_path))


def test_a_damaged_saved_folder_is_refused(tmp_path: Path) -> None:
    _saved(tmp_path / "saved")
    data = next((tmp_path / "saved").glob("*.arrow"))
    data.write_bytes(data.read_bytes()[:40])
    assert "save_to_disk folder" in _refused(str(tmp_path / "saved"))


def test_a_saved_folder_of_several_splits_names_them(tmp_path: Path) -> None:
    table = datasets.Dataset.from_list(RECORDS)
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk(tmp_path / "saved")
    assert "holds the splits train, test; name one of them" in _refused(str(tmp_path / "saved"))


def test_a_hub_name_without_network_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = _refused("nobody/nothing:config:train")
    assert "not loadable as a hub data set" in message


def test_a_hub_data_set_is_read_with_config_and_split_and_leaves_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the download is replaced; the reading is the library's own, and nothing of it may stay on disk."""
    hub = tmp_path / "hub"
    for config in ("one", "two"):
        (hub / config).mkdir(parents=True)
        for split in ("train", "test"):
            (hub / config / f"{split}.jsonl").write_bytes(_line(question=config, answer=f"{split} {CANARY}"))
    configs = [f"- config_name: {c}\n  data_files:\n  - split: test\n    path: {c}/test.jsonl" for c in ("one", "two")]
    (hub / "README.md").write_text("---\nconfigs:\n" + "\n".join(configs) + "\n---\n", encoding="utf-8")
    home, temp = tmp_path / "home", tmp_path / "temp"
    temp.mkdir()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_args, **_kwargs: str(hub))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home)
    monkeypatch.setattr("tempfile.tempdir", str(temp))
    assert list(load_rows("somebody/rows:two:test", name="train")) == [Row(question="two", answer=f"test {CANARY}")]
    assert not home.exists()
    assert list(temp.iterdir()) == []


def test_reading_leaves_no_copy_of_the_text_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, data = tmp_path / "home", tmp_path / "data"
    home.mkdir()
    data.mkdir()
    for variable in ("HOME", "HF_HOME", "TMPDIR"):
        monkeypatch.setenv(variable, str(home))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home)
    for name, write in {"a.jsonl": _jsonl, "a.csv": _csv, "a.parquet": _parquet, "saved": _saved}.items():
        write(data / name)
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for name in ("a.jsonl", "a.csv", "a.parquet", "saved"):
        loaded = load_rows(str(data / name), name="train")
        assert len(loaded.select([1, 0])) == 2
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


@pytest.mark.skipif(not TOFU.is_dir(), reason="the TOFU rows are not beside the repository")
def test_tofu_files_load_and_the_forget_rows_are_training_rows() -> None:
    train = load_rows(str(TOFU / "full.jsonl"), name="train")
    forget = load_rows(str(TOFU / "forget01_perturbed.jsonl"), name="forget")
    assert (len(train), len(forget)) == (4000, 40)
    assert set(forget.digests) <= set(train.digests)
    assert all(len(row.perturbed_answer) == 5 and row.paraphrased_answer for row in forget)

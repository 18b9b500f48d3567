"""Reads rows from wherever people keep them, and writes them back as JSON lines.

Promises: a file is read into memory and nowhere else (no cache of it is left on disk); what cannot be read is
refused in one line that names the file, the row or line, and what is allowed, and quotes no text of it. A hub data
set is downloaded into a temporary folder that is gone when the call returns.
"""

import csv
import io
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.audit.canonical import parse_strict
from pipelines.audit.encoding import write_atomic
from pipelines.data.columns import OPTIONAL, Values, json_list, rows_from
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput

HUB_NAME = re.compile(
    r"(?P<name>[\w-][\w.-]*(?:/[\w-][\w.-]*)?)(?::(?P<config>[\w.-]*))?(?::(?P<split>[\w.%:\[\]+-]+))?"
)
ALLOWED = "a .jsonl, .json, .parquet or .csv file, a save_to_disk folder, or a hub name[:config[:split]]"


def load_rows(ref: str, *, name: str) -> Rows:
    """The rows that a DATA reference names.

    Args:
        ref: a JSONL, JSON, Parquet or CSV file, a folder written by ``save_to_disk``, or a hub data set
            ``name[:config[:split]]``.
        name: what the rows are for; begins every error message.

    Raises:
        BadInput: missing, unreadable, truncated, not UTF-8, empty, wrong columns, a null or a value that is no string.
    """
    path = Path(ref)
    where = f"{name}: {ref}"
    if path.is_dir():
        return Rows.of(rows_from(_saved(path, where), where=where))
    if path.is_file():
        return Rows.of(rows_from(_file(path, where), where=where))
    match = HUB_NAME.fullmatch(ref)
    if match is None or path.suffix in READERS:
        raise BadInput(f"{where}: no such file or folder; give {ALLOWED}")
    return Rows.of(rows_from(_hub(match, where), where=where))


def save_rows(rows: Rows, path: Path) -> None:
    """Write rows as JSON lines, readable by the owner only; complete or not there at all."""
    write_atomic(path, b"".join(_line(row) for row in rows), mode=0o600)


def _line(row: Row) -> bytes:
    record: dict[str, object] = {"question": row.question, "answer": row.answer}
    record |= {name: getattr(row, name) for name in OPTIONAL if getattr(row, name)}
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def _file(path: Path, where: str) -> Sequence[Values]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise BadInput(f"{where}: unknown kind of file {path.suffix or '(no suffix)'}; give {ALLOWED}")
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = type(error).__name__
    else:
        return reader(content, where)
    raise BadInput(f"{where}: cannot be read ({problem}); a readable file is needed")


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    raise BadInput(f"{where}: line {line} is not UTF-8; save the file as UTF-8")


def _json_lines(content: bytes, where: str) -> Sequence[Values]:
    # Not splitlines: it also splits at characters that may stand inside a JSON string.
    lines = _decoded(content, where).split("\n")
    numbered = [(i, line) for i, line in enumerate(lines, start=1) if line.strip()]
    return [
        _object(parse_strict(line.encode(), what=f"{where}: line {i}"), f"{where}: line {i}") for i, line in numbered
    ]


def _json(content: bytes, where: str) -> Sequence[Values]:
    text = _decoded(content, where)
    if not text.lstrip().startswith("["):
        return _json_lines(content, where)
    value = parse_strict(text.encode(), what=where, max_bytes=len(content))
    items = value if isinstance(value, list) else []
    return [_object(item, f"{where}: row {i}") for i, item in enumerate(items)]


def _object(value: object, where: str) -> Values:
    if not isinstance(value, Mapping):
        raise BadInput(f"{where} is not a JSON object; one object with named columns per row is needed")
    return value


def _csv(content: bytes, where: str) -> Sequence[Values]:
    reader = csv.reader(io.StringIO(_decoded(content, where), newline=""), strict=True)
    try:
        header = next(reader, [])
        records = [_cells(header, cells, f"{where}: line {reader.line_num}") for cells in reader if cells]
    except csv.Error:
        line = reader.line_num
    else:
        return records
    raise BadInput(f"{where}: line {line} is not valid CSV; quote text that holds quotes or line ends")


def _cells(header: Sequence[str], cells: Sequence[str], where: str) -> Values:
    if len(cells) != len(header):
        raise BadInput(
            f"{where} has {len(cells)} cells, but the header names {len(header)} columns; quote text that holds commas"
        )
    record: dict[str, object] = dict(zip(header, cells, strict=True))
    for column in OPTIONAL:  # an empty cell is how CSV says that there is none
        record |= {column: record[column] or None} if column in record else {}
    if isinstance(listed := record.get("perturbed_answer"), str):
        record["perturbed_answer"] = json_list(listed)
    return record


def _parquet(content: bytes, where: str) -> Sequence[Values]:
    try:
        return _records(pq.read_table(io.BytesIO(content)))
    except UnicodeDecodeError:
        problem = "holds text that is not UTF-8"
    except (pa.ArrowException, OSError):
        problem = "is not a complete Parquet file"
    raise BadInput(f"{where}: {problem}; write it again")


def _records(table: pa.Table) -> Sequence[Values]:
    records: list[Values] = table.to_pylist()
    return records


def _saved(path: Path, where: str) -> Sequence[Values]:
    try:
        found = datasets.load_from_disk(str(path), keep_in_memory=True)
    except UnicodeDecodeError:
        problem = "holds text that is not UTF-8"
    except (FileNotFoundError, NotADirectoryError):
        problem = "is not a complete save_to_disk folder"
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        problem = "is a damaged save_to_disk folder"
    else:
        return _one_split(found, where)
    raise BadInput(f"{where}: {problem}; give {ALLOWED}")


def _one_split(found: datasets.Dataset | datasets.DatasetDict, where: str) -> Sequence[Values]:
    if isinstance(found, datasets.DatasetDict):
        raise BadInput(f"{where}: holds the splits {', '.join(found)}; name one of them")
    try:
        return list(found)
    except (UnicodeDecodeError, pa.ArrowException):
        pass
    raise BadInput(f"{where}: holds text that is not UTF-8; write it again")


def _hub(match: re.Match[str], where: str) -> Sequence[Values]:
    """Downloads into a folder of its own: the library's caches would keep the text long after the request."""
    with tempfile.TemporaryDirectory(prefix="lethe-hub-") as cache:
        try:
            folder = huggingface_hub.snapshot_download(match["name"], repo_type="dataset", cache_dir=cache)
            config, split = match["config"] or None, match["split"] or "train"
            found = datasets.load_dataset(folder, config, split=split, cache_dir=cache, keep_in_memory=True)
            return _one_split(found, where)
        except BadInput:
            raise
        except Exception as error:  # the library raises whatever its many backends raise
            problem = type(error).__name__
    raise BadInput(f"{where}: no such file or folder, and not loadable as a hub data set ({problem}); give {ALLOWED}")


READERS: Mapping[str, Callable[[bytes, str], Sequence[Values]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
"""How a file is read, by its suffix."""

"""Scores of a model on its rows, kept in the vault so that a second metric costs no forward pass.

Promises: a table is found again only under the same model, data, tokenizer and settings; a file that was cut, changed
    or moved to another name is treated as absent. Tables hold numbers per row of a forget set, so they live where its
    text lives and are erased with it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.audit.canonical import digest, sha256_bytes
from pipelines.audit.encoding import write_atomic
from pipelines.home import PRIVATE

KEY = b"lethe.key"


@dataclass(frozen=True, slots=True)
class ScoreKey:
    """What a table was computed from.

    Attributes:
        kind: which pass, with its version.
        model_digest: of the model folder.
        data_digest: over all splits; a plain digest of text, so it stays in the vault too.
        tokenizer_digest: of the tokenizer as it was used.
        settings_digest: of everything else that could change a number.
    """

    kind: str
    model_digest: str
    data_digest: str
    tokenizer_digest: str
    settings_digest: str

    @property
    def name(self) -> str:
        """File name without ending."""
        return digest(asdict(self))


@dataclass(frozen=True, slots=True)
class ScoreStore:
    """A folder of score tables."""

    root: Path

    def load(self, key: ScoreKey, *, schema: pa.Schema) -> pa.Table | None:
        """The table of that key, or None where there is no intact one."""
        try:
            data = self._file(key).read_bytes()
            recorded = self._checksum(key).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return None
        if sha256_bytes(data) != recorded:
            return None
        table = pq.read_table(pa.BufferReader(data))
        same_key = (table.schema.metadata or {}).get(KEY) == key.name.encode()
        return table.replace_schema_metadata() if same_key and table.schema.equals(schema) else None

    def save(self, key: ScoreKey, table: pa.Table) -> None:
        """Keep a table; the file appears whole or not at all.

        Raises:
            BadInput: the disk is full or the folder cannot be written.
        """
        self.root.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({KEY: key.name.encode()}), sink)
        data = sink.getvalue().to_pybytes()
        # The checksum first: killed in between, the next reader finds a mismatch and scores again.
        write_atomic(self._checksum(key), sha256_bytes(data).encode(), mode=0o600)
        write_atomic(self._file(key), data, mode=0o600)

    def _file(self, key: ScoreKey) -> Path:
        return self.root / f"{key.name}.parquet"

    def _checksum(self, key: ScoreKey) -> Path:
        return self.root / f"{key.name}.sha256"

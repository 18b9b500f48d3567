"""Where Lethe writes: one folder, with one room for each kind of state. Makes paths, not decisions.

``runs/`` holds what anybody may read (digests, measurements, certificates, models), ``vault/`` what nobody else may
(text of a request and its forget set, mode 0700), ``log/`` the audit log, ``keys/`` signing keys, ``mlflow/`` and
``prefect/`` the displays, ``cache/`` what can be rebuilt.
"""

import os
from dataclasses import dataclass
from pathlib import Path

PRIVATE = 0o700


@dataclass(frozen=True, slots=True)
class Home:
    """The folder under which everything is written."""

    root: Path

    @classmethod
    def at(cls, root: str | Path | None = None) -> "Home":
        """``root``, else ``$LETHE_HOME``, else ``./.lethe``; absolute, not created."""
        return cls(Path(root or os.environ.get("LETHE_HOME") or ".lethe").absolute())

    def room(self, name: str) -> Path:
        """A folder under the root, created with mode 0700."""
        path = self.root / name
        path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        return path

    @property
    def log(self) -> Path:
        """The audit log's folder."""
        return self.room("log")

    @property
    def keys(self) -> Path:
        """Private keys and the trust file that belongs to them."""
        return self.room("keys")

    @property
    def cache(self) -> Path:
        """What can be rebuilt: the demo world, plots' fonts."""
        return self.room("cache")

    def run(self, request_id: str) -> Path:
        """The public folder of one request."""
        return self.room(f"runs/{request_id}")

    def vault(self, request_id: str) -> Path:
        """The private folder of one request."""
        self.room("vault")
        return self.room(f"vault/{request_id}")

"""A read-only mapping of plug-ins by name: one module, one constant, one name in one tuple.

Duplicates are refused when the mapping is made, unknown names when they are looked up, and the message says what is
known.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeVar

from pipelines.errors import BadInput


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """Unique within its registry."""
        ...


T = TypeVar("T", bound=Named)


class Registry(Mapping[str, T]):
    """Plug-ins of one kind by name, in the order they were given."""

    def __init__(self, kind: str, *entries: T) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        for entry in entries:
            if entry.name in self._entries:
                raise ValueError(f"two {kind}s are named {entry.name}")
            self._entries[entry.name] = entry

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def require(self, name: str) -> T:
        """The entry of that name.

        Raises:
            BadInput: unknown; the message lists what is known.
        """
        if name not in self._entries:
            raise BadInput(f"unknown {self.kind} {name!r}; known: {', '.join(self._entries)}")
        return self._entries[name]

"""Plug-ins by name: duplicates refused when made, unknown names when asked."""

from dataclasses import dataclass

import pytest

from pipelines.errors import BadInput
from pipelines.registry import Registry


@dataclass(frozen=True)
class Entry:
    name: str


def test_lookup_in_given_order() -> None:
    registry = Registry("method", Entry("b"), Entry("a"))
    assert list(registry) == ["b", "a"]
    assert registry.require("a") is registry["a"]


def test_duplicate_is_refused() -> None:
    with pytest.raises(ValueError, match="two methods are named a"):
        Registry("method", Entry("a"), Entry("a"))


def test_unknown_names_what_is_known() -> None:
    with pytest.raises(BadInput, match="unknown method 'c'; known: b, a"):
        Registry("method", Entry("b"), Entry("a")).require("c")


def test_registry_is_read_only() -> None:
    with pytest.raises(TypeError):
        Registry("method", Entry("a"))["b"] = Entry("b")  # type: ignore[index]

"""Holes among living blocks go back to the system while the block runs, and are kept for reuse otherwise."""

import ctypes

import pytest
import torch

from bench.base import memory_mib
from pipelines.training.allocator import freed_at_once

GLIBC = hasattr(ctypes.CDLL(None), "mallopt")


def _returned() -> float:
    """MiB that freeing every other one of 32 blocks of 4 MiB gives back."""
    blocks = [torch.ones(2**20) for _ in range(32)]
    before = memory_mib("VmRSS")
    del blocks[::2]
    return before - memory_mib("VmRSS")


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_holes_are_given_back_inside_and_kept_outside() -> None:
    with freed_at_once():
        assert _returned() == pytest.approx(64, abs=8)
    assert _returned() == pytest.approx(0, abs=8)


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with freed_at_once():
        pass

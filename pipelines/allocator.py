"""What is freed goes back to the system at once while a block runs, so that a process's memory is what it has alive.

glibc keeps freed blocks for reuse up to a size that it raises to 32 MiB by itself. A training step frees its tensors in
an order that leaves holes among them: without this a process holds a quarter more than it ever uses; logits of a large
vocabulary, a chunk after the other, hold up to twice what one chunk takes. The price is that large blocks are fetched
from the system anew. With another C library nothing changes. The limit is the process's, so it holds for other threads
too.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_MMAP_THRESHOLD = -3
"""``M_MMAP_THRESHOLD`` of glibc's malloc.h: blocks of this size and more are mapped one by one."""

MEANWHILE = 2**20
OTHERWISE = 2**25
"""Bytes; the second is where glibc's own adjustment ends in a process that has freed large tensors."""


@contextmanager
def freed_at_once(*, when: bool = True) -> Iterator[None]:
    """Return freed blocks of a MiB and more to the system while the block runs; what was kept before goes first."""
    library = ctypes.CDLL(None)
    if not (when and hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield
        return
    library.malloc_trim(0)
    library.mallopt(_MMAP_THRESHOLD, MEANWHILE)
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, OTHERWISE)

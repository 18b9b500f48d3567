"""One run at a time on an accelerator: a slot on this machine, and one of the Prefect server's limit.

The machine's slot is a file lock that the system releases however a process ends. The server's slot is a lease; a
process that was killed gives it back when the lease ends. Without a server there is nobody to lease from, and a slot
leaked into a database by a killed process would block the next run, so only the file lock is used then.
"""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from pipelines.home import Home

LIMIT = "lethe-gpu"
LEASE_S = 60.0
EMBEDDED_SERVER = "LETHE_EMBEDDED_SERVER"
"""Set for a child whose server is its parent's own, gone with it: as good as none."""


@contextmanager
def device_slot(home: Home) -> Iterator[None]:
    """Wait for the device, hold it, give it back."""
    descriptor = os.open(home.cache / "device.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with _server_slot():
            yield
    finally:
        os.close(descriptor)


@contextmanager
def _server_slot() -> Iterator[None]:
    if not PREFECT_API_URL.value() or EMBEDDED_SERVER in os.environ:
        yield
        return
    _ensure_limit()
    with concurrency(LIMIT, occupy=1, lease_duration=LEASE_S, strict=True):
        yield


def _ensure_limit() -> None:
    """Make the limit with one slot where an operator has not made it; an operator's number stays."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(LIMIT)
        except ObjectNotFound:
            missing = True
        else:
            missing = False
        if missing:
            client.upsert_global_concurrency_limit_by_name(LIMIT, 1)


def release_memory() -> None:
    """Give an accelerator's cached memory back, so that another process can have it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()

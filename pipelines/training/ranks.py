"""One run in several processes: which of them this is, and waiting for the others.

``accelerate launch`` and ``torchrun`` say it in the environment. A process started by neither is alone, and nothing
here then does anything. Files, logs and prints are the main process's; the others compute.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed


def world_size() -> int:
    """How many processes run together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return rank() == 0


def wait() -> None:
    """Until all processes have come here."""
    if world_size() > 1:
        torch.distributed.barrier()


@contextmanager
def joined(*, cpu: bool) -> Iterator[None]:
    """The processes know one another for the length of a block.

    Args:
        cpu: whether they meet over gloo on CPUs rather than over their GPUs.
    """
    from accelerate import PartialState  # noqa: PLC0415 -- slow, and a process alone has no use for it

    PartialState(cpu=cpu)
    try:
        yield
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

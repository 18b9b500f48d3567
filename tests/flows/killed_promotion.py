"""Promotes in a process of its own that kills itself right before one of the steps.

Usage: ``python -m tests.flows.killed_promotion intent|alias|outcome|- REQUEST HOME``. ``-`` kills nowhere. The steps
are those of the flow, called without it: a Prefect server would take longer to start than all of them.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from pipelines.audit.promotions import Intent
from pipelines.home import Home
from tasks.model_registry import MlflowRegistry
from tasks.promotion import Wish, log_intent, log_outcome, move_alias, one_promoter, plan, settle
from tasks.tracking import tracking


def promote(at: str, request: str, home: Home) -> None:
    """The whole way, up to the point."""
    now = datetime.now(UTC)
    with one_promoter(home), tracking(home) as mlflow:
        registry = MlflowRegistry(mlflow)
        settle(home, registry, now=now)
        intent = plan(home, registry, Wish(request), now=now)
        if not isinstance(intent, Intent):
            return
        steps: dict[str, Callable[[], object]] = {
            "intent": lambda: log_intent(home, intent, now=now),
            "alias": lambda: move_alias(home, registry, intent),
            "outcome": lambda: log_outcome(home, intent, now=now),
        }
        for name, step in steps.items():
            if name == at:
                os.kill(os.getpid(), signal.SIGKILL)
            step()


if __name__ == "__main__":
    promote(sys.argv[1], sys.argv[2], Home.at(sys.argv[3]))

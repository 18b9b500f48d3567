"""How long work tells where it is: log records for the terminal, a progress artifact for the Prefect UI.

A message holds names and numbers only. Updates of the artifact are spaced out, so that a fast loop does not wait for
a server.
"""

import logging
import time
from dataclasses import dataclass, field
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

logger = logging.getLogger("lethe.progress")

SPACING_S = 1.0


@dataclass(slots=True)
class Progress:
    """Progress of one stage; call it with what is done and what there is to do."""

    stage: str
    _artifact: UUID | None = None
    _last: float = field(default=0.0)

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """Say that ``done`` of ``total`` units are done.

        Args:
            done: units so far.
            total: units in all, at least 1.
            detail: a few numbers, never text of a row.
        """
        now = time.monotonic()
        if done < total and now - self._last < SPACING_S:
            return
        self._last = now
        logger.info(
            "%s %d/%d %s",
            self.stage,
            done,
            total,
            detail,
            extra={"stage": self.stage, "done": done, "total": total, "detail": detail},
        )
        if TaskRunContext.get() is not None:
            self._publish(100.0 * done / max(total, 1))

    def _publish(self, percent: float) -> None:
        if self._artifact is None:
            created = create_progress_artifact(progress=percent, description=f"Progress of {self.stage}")
            self._artifact = created if isinstance(created, UUID) else None
        else:
            update_progress_artifact(artifact_id=self._artifact, progress=percent)

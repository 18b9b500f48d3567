"""A watch's steps as Prefect tasks: compare, then tell whoever listens for events."""

from datetime import UTC, datetime

from prefect.events import emit_event

from tasks import drift
from tasks.artifacts import show_table
from tasks.drift import EVENT, Watched
from tasks.promotion_steps import desk, step


@step("compare")
def compare(home: str, settled: tuple[str, ...]) -> Watched:
    """Compare the registry with the log."""
    with desk(home) as at:
        return drift.look(at.home, at.registry, now=datetime.now(UTC), settled=settled)


@step("tell")
def tell(watched: Watched) -> None:
    """Send one event per model with findings, and show them with the run."""
    for model in sorted({finding.model for finding in watched.findings}):
        found = [f"{finding.what}: {finding.detail}" for finding in watched.findings if finding.model == model]
        resource = {"prefect.resource.id": f"lethe.model.{model}", "prefect.resource.name": model}
        emit_event(event=EVENT, resource=resource, payload={"findings": found})
    rows = [(finding.model, finding.what, finding.detail) for finding in watched.findings]
    show_table("watch", ("model", "what", "detail"), rows)

"""The steps of a promotion as Prefect tasks: each opens MLflow for itself, so that a step that it failed is retried.

They take and return records without text; nothing is cached, because what a step checks may change between two runs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from pipelines.audit.promotions import Intent
from pipelines.home import Home
from tasks import promotion
from tasks.artifacts import show_note
from tasks.model_registry import MlflowRegistry
from tasks.promotion import Promoted, Wish
from tasks.stage import only_transient
from tasks.tracking import tracking

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Desk:
    """What a step works with: the home folder and a registry that has answered."""

    home: Home
    registry: MlflowRegistry


@contextmanager
def desk(home: str) -> Iterator[Desk]:
    """Open the registry of a home folder.

    Raises:
        Unavailable: it did not answer.
    """
    at = Home.at(home)
    with tracking(at) as mlflow:
        yield Desk(at, MlflowRegistry(mlflow))


def step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A task that is retried while a service is silent, and whose results are kept nowhere."""

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        return task(
            name=name,
            retries=3,
            retry_delay_seconds=exponential_backoff(backoff_factor=2),
            retry_condition_fn=only_transient,
            cache_policy=NO_CACHE,
            persist_result=False,
            log_prints=False,
        )(function)

    return decorate


@step("settle")
def settle(home: str) -> tuple[str, ...]:
    """Finish what an earlier promotion began and did not conclude."""
    with desk(home) as at:
        return promotion.settle(at.home, at.registry, now=datetime.now(UTC))


@step("check")
def plan(home: str, request: str, action: str, approval: str | None, reason: str | None) -> Promoted | Intent:
    """Check certificate, stored bytes, approval, alias and log."""
    wish = Wish(request, action, approval=Path(approval) if approval else None, reason=reason)
    with desk(home) as at:
        return promotion.plan(at.home, at.registry, wish, now=datetime.now(UTC))


@step("log intent")
def log_intent(home: str, intent: Intent) -> None:
    """Log what is about to be done."""
    promotion.log_intent(Home.at(home), intent, now=datetime.now(UTC))


@step("move alias")
def move_alias(home: str, intent: Intent) -> None:
    """Point the aliases."""
    with desk(home) as at:
        promotion.move_alias(at.home, at.registry, intent)


@step("log outcome")
def log_outcome(home: str, intent: Intent) -> Promoted:
    """Log that it was done."""
    done = promotion.log_outcome(Home.at(home), intent, now=datetime.now(UTC))
    replaced = f"version {done.replaces}" if done.replaces else "nothing"
    show_note("promotion", f"# {done.model} version {done.version} is champion\n- it replaces {replaced}")
    return done


@step("find the version")
def request_of(home: str, model: str | None, version: str | None) -> str:
    """The request whose candidate a version is; the model's last champion but one where none is named."""
    return promotion.request_of(Home.at(home), model=model, version=version)

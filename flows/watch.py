"""Looks after what was promoted: concludes interrupted promotions, then compares the registry with the signed log.

Runs on a schedule; ends in the state ``Drift`` and sends one event per model where something is not as the log says,
so that an automation can wake somebody up. It moves no alias but to finish a promotion that was approved.
"""

from typing import cast

from prefect import flow
from prefect.states import Failed

from pipelines.home import Home
from tasks.drift import Watched
from tasks.drift_steps import compare, tell
from tasks.promotion import one_promoter
from tasks.promotion_steps import settle


@flow(name="watch", persist_result=False, log_prints=False)
def watch(home: str | None = None) -> Watched:
    """Compare aliases, stored bytes, certificates and approvals with the log.

    Args:
        home: Folder with log, keys and approvals; $LETHE_HOME or ./.lethe when empty.
    """
    root = str(Home.at(home).root)
    with one_promoter(Home.at(home)):
        watched = compare(root, settle(root))
    if not watched.findings:
        return watched
    tell(watched)
    lines = [f"{finding.model}: {finding.what}: {finding.detail}" for finding in watched.findings]
    # A state that a flow returns becomes the run's state, and its data what the caller can read.
    return cast("Watched", Failed(name="Drift", message="; ".join(lines), data=watched))

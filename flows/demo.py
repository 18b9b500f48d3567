"""The demonstration: invented authors, one request that ends registered, one reckless attempt that is refused.

Both go through the same ``erase`` flow that a real request takes. The world is cached by digest; a second demonstration
checks and reuses what the first one did.
"""

from prefect import flow

from flows.erase import RequestReference, erase
from tasks.demo import Shown, clear, prepare_requests, summarise


@flow(name="demo", persist_result=False, log_prints=False)
def demo(home: str | None = None, seed: int = 0, fresh: bool = False) -> Shown:
    """Build the demo world, carry one request to a registered version and one to a signed refusal.

    Args:
        home: Folder under which everything is written; $LETHE_HOME or ./.lethe when empty.
        seed: Of the demo world.
        fresh: Do the requests again; the world stays cached.
    """
    careful, reckless = prepare_requests(home, seed)
    if fresh:
        clear(home)
    first, second = (
        erase(RequestReference(id=asked.id, path=asked.path), asked.config, home=home) for asked in (careful, reckless)
    )
    return summarise(home, (first, second))

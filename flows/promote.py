"""Makes a certified version the champion, or puts an earlier champion back, if a signed approval says so.

Both walk the same way: settle what was interrupted, check everything, log the intent, move the alias, log the outcome.
Killed at any point, the next promotion or watch finishes it. The decision is the approval's; a flow that somebody
resumed in the Prefect UI decides nothing.
"""

from prefect import flow

from pipelines.audit.promotions import PROMOTE, ROLLBACK
from pipelines.home import Home
from tasks.promotion import Promoted, one_promoter
from tasks.promotion_steps import log_intent, log_outcome, move_alias, plan, request_of, settle


@flow(name="promote", flow_run_name="{request}", persist_result=False, log_prints=False)
def promote(request: str, approval: str | None = None, home: str | None = None) -> Promoted:
    """Make the candidate of a request the champion of its model.

    Args:
        request: Id of the request whose candidate was certified, registered and approved.
        approval: File with a signed approval; the latest one that was signed here when empty.
        home: Folder with log, keys and approvals; $LETHE_HOME or ./.lethe when empty.
    """
    return _walk(_root(home), request, action=PROMOTE, approval=approval, reason=None)


@flow(name="rollback", persist_result=False, log_prints=False)
def rollback(
    reason: str,
    model: str | None = None,
    version: str | None = None,
    approval: str | None = None,
    home: str | None = None,
) -> Promoted:
    """Put back a version that was champion before. What was forgotten since then is back with it.

    Args:
        reason: Short code that is logged, such as quality_regression.
        model: Name in the registry; may be left out where there is one.
        version: Which version; the champion before the present one when empty.
        approval: File with a signed approval; the latest one that was signed here when empty.
        home: Folder with log, keys and approvals; $LETHE_HOME or ./.lethe when empty.
    """
    root = _root(home)
    return _walk(root, request_of(root, model, version), action=ROLLBACK, approval=approval, reason=reason)


def _walk(home: str, request: str, *, action: str, approval: str | None, reason: str | None) -> Promoted:
    with one_promoter(Home.at(home)):
        settle(home)
        intent = plan(home, request, action, approval, reason)
        if isinstance(intent, Promoted):
            return intent
        log_intent(home, intent)
        move_alias(home, intent)
        return log_outcome(home, intent)


def _root(home: str | None) -> str:
    return str(Home.at(home).root)

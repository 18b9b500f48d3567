"""Where a run finds its keys: one file per role under the home folder's ``keys/``.

They are made on first use, with the trust file beside them. Who asks names the roles it acts in, and no other key is
opened: training names none but the log's, the evaluator's process its own and the log's. A deployment that separates
duties puts the evaluator's key where the evaluator alone can read it, and hands out the trust file.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from pipelines.audit.keys import Keyring, ensure_keyring
from pipelines.audit.trust import ROLES
from pipelines.home import Home
from tasks.workspace import ORIGIN

LOG = ("log",)
"""Who writes the log signs its head."""

EVALUATOR = ("evaluator", "log")
"""Who measured signs what it found, and the head of the log that holds it."""


def keyring(home: Home, *, roles: Sequence[str] = ROLES) -> Keyring:
    """The keys of these roles; those that are missing are made, those of other roles are not opened."""
    return ensure_keyring(home.keys, origin=ORIGIN, now=datetime.now(UTC), roles=roles)

"""Where a run finds its keys: one file per role under the home folder's ``keys/``.

They are made on first use, with the trust file beside them.

Training tasks never call this. A deployment that separates duties puts the evaluator's and the log's keys on the
evaluator's machine only and hands out the trust file.
"""

from datetime import UTC, datetime

from pipelines.audit.keys import Keyring, ensure_keyring
from pipelines.home import Home
from tasks.workspace import ORIGIN


def keyring(home: Home) -> Keyring:
    """The keys of this home folder; those that are missing are made."""
    return ensure_keyring(home.keys, origin=ORIGIN, now=datetime.now(UTC))

"""UTC times as text with seconds, in the one form that statements, logs and trust files carry: 2026-11-21T06:30:00Z.

It never asks what time it is: the clock is the caller's.
"""

import re
from datetime import UTC, datetime

from pipelines.errors import BadInput

_FORM = "%Y-%m-%dT%H:%M:%SZ"
# strptime alone would accept a missing leading zero; one instant has one text.
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def format_instant(moment: datetime) -> str:
    """The text of an aware time, converted to UTC, fractions of a second dropped.

    Raises:
        BadInput: the time has no zone.
    """
    if moment.tzinfo is None:
        raise BadInput("time: has no time zone; pass an aware datetime such as datetime.now(UTC)")
    return moment.astimezone(UTC).strftime(_FORM)


def parse_instant(text: object, *, what: str = "time") -> datetime:
    """The time of a text in the form of `format_instant`.

    Raises:
        BadInput: anything else.
    """
    if isinstance(text, str) and _INSTANT.fullmatch(text):
        try:
            return datetime.strptime(text, _FORM).replace(tzinfo=UTC)
        except ValueError:
            pass
    raise BadInput(f"{what}: not a UTC time such as 2026-11-21T06:30:00Z")

"""Strict reading of parsed JSON: exact field sets and exact types, for every record that is signed or trusted.

Promises: a value is returned as the type that was asked for, or refused with the name of its field. It never guesses,
converts or fills in, and an error names fields and types, never values.
"""

import math
import re
from collections.abc import Iterable

from pipelines.audit.canonical import is_digest
from pipelines.errors import BadInput

# What may stand in a log entry, a name or a reason code: no blank, so that no sentence fits.
_CODE = re.compile(r"[A-Za-z0-9_.:/+@-]{1,128}")
_SENTENCE_LENGTH = 400


def record(value: object, names: Iterable[str], *, what: str) -> dict[str, object]:
    """An object that has exactly these fields.

    Raises:
        BadInput: not an object, a field missing, or a field too many.
    """
    if not isinstance(value, dict):
        raise BadInput(f"{what}: must be an object")
    wanted = set(names)
    if missing := sorted(wanted - value.keys()):
        raise BadInput(f"{what}: field {missing[0]} is missing")
    if extra := len(value.keys() - wanted):
        raise BadInput(f"{what}: {extra} unknown field(s); known: {', '.join(sorted(wanted))}")
    return value


def items(value: object, *, what: str) -> list[object]:
    """A list.

    Raises:
        BadInput: another type.
    """
    if not isinstance(value, list):
        raise BadInput(f"{what}: must be a list")
    return value


def string(value: object, *, what: str) -> str:
    """A string, whatever it holds.

    Raises:
        BadInput: another type.
    """
    if not isinstance(value, str):
        raise BadInput(f"{what}: must be a string")
    return value


def code(value: object, *, what: str) -> str:
    """A name, version or reason code: 1 to 128 letters, digits and _ . : / + @ -, no blank.

    Raises:
        BadInput: anything else.
    """
    if not isinstance(value, str) or _CODE.fullmatch(value) is None:
        raise BadInput(f"{what}: must be 1 to 128 of letters, digits and _ . : / + @ -")
    return value


def sentence(value: object, *, what: str) -> str:
    """One printable line of at most 400 characters, for what a person reads: limits and reasons, never data.

    Raises:
        BadInput: anything else.
    """
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= _SENTENCE_LENGTH:
        raise BadInput(f"{what}: must be one printable line of 1 to {_SENTENCE_LENGTH} characters")
    return value


def sha256(value: object, *, what: str) -> str:
    """A digest: 64 lower-case hex digits.

    Raises:
        BadInput: anything else.
    """
    if not isinstance(value, str) or not is_digest(value):
        raise BadInput(f"{what}: must be a SHA-256 digest, 64 lower-case hex digits")
    return value


def count(value: object, *, what: str) -> int:
    """A whole number from 0 up; true and false are no numbers.

    Raises:
        BadInput: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadInput(f"{what}: must be a whole number, 0 or more")
    return value


def number(value: object, *, what: str) -> float:
    """A finite number; true and false are no numbers.

    Raises:
        BadInput: anything else, NaN and infinity included.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{what}: must be a finite number")
    return float(value)


def flag(value: object, *, what: str) -> bool:
    """True or false, nothing that merely counts as one.

    Raises:
        BadInput: another type.
    """
    if not isinstance(value, bool):
        raise BadInput(f"{what}: must be true or false")
    return value

"""One byte string per JSON value (RFC 8785), and the digests that everything else is named by.

Promises: two equal values have equal bytes; `parse_strict` reads only JSON that has one meaning (no duplicate keys, no
NaN, no lone surrogates, bounded size and depth); `parse_canonical` reads only the one form that `canonical` writes, so
no changed byte goes unseen. It does not know what a value means, and it quotes none of it in an error.
"""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

import rfc8785

from pipelines.errors import BadInput

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_BYTES = 8 * 2**20
MAX_DEPTH = 32
SALT_BYTES = 32
_MAX_INT = 2**53 - 1
_DIGEST = re.compile(r"[0-9a-f]{64}")
# A string left open is taken to the end of the text: trying again at every later quote would be quadratic.
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def canonical(value: object) -> bytes:
    """The RFC 8785 form of a JSON value (tuples are written as arrays).

    Raises:
        BadInput: the value is not JSON: NaN, infinity, an integer beyond 2^53 - 1, a key that is no string, another
            type.
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.FloatDomainError:
        reason = "a number is NaN or infinite"
    except rfc8785.IntegerDomainError:
        reason = "an integer is beyond 2^53 - 1"
    except (rfc8785.CanonicalizationError, RecursionError):
        reason = "a value or key is of a type that JSON does not have"
    raise BadInput(f"canonical JSON: {reason}")


def parse_strict(data: bytes, *, what: str = "JSON", max_bytes: int = MAX_BYTES) -> Json:
    """Read JSON that can be read in one way only.

    Args:
        data: UTF-8 bytes without a byte order mark.
        what: how an error names the source, for example a file path.
        max_bytes: the longest input that is read.

    Raises:
        BadInput: too long, too deep, not UTF-8, not JSON, a duplicate key, NaN or infinity, an integer beyond 2^53 - 1.
    """
    return _parse(data, what=what, max_bytes=max_bytes).value


def parse_canonical(data: bytes, *, what: str = "JSON", max_bytes: int = MAX_BYTES) -> Json:
    """Read JSON that is already in its RFC 8785 form, byte for byte.

    Raises:
        BadInput: as `parse_strict`, or the bytes are not the canonical form of the value they hold.
    """
    parsed = _parse(data, what=what, max_bytes=max_bytes)
    if parsed.canonical != data:
        raise BadInput(f"{what}: not in canonical form (RFC 8785)")
    return parsed.value


def digest(value: object) -> str:
    """SHA-256 of the canonical form, 64 lower-case hex digits."""
    return sha256_bytes(canonical(value))


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes, 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, read in pieces, 64 lower-case hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def keyed_digest(salt: bytes, data: bytes) -> str:
    """HMAC-SHA256 of bytes under a salt from an erasable store: deleting the salt makes the digest unlinkable.

    Raises:
        BadInput: the salt is not exactly 32 bytes.
    """
    if len(salt) != SALT_BYTES:
        raise BadInput(f"salt: {len(salt)} bytes, exactly {SALT_BYTES} are needed")
    return hmac.new(salt, data, hashlib.sha256).hexdigest()


def is_digest(value: object) -> bool:
    """Whether the value is a digest as this module writes it."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


@dataclass(frozen=True)
class _Parsed:
    """A value and its canonical form, which showed that it has one."""

    value: Json
    canonical: bytes


def _parse(data: bytes, *, what: str, max_bytes: int) -> _Parsed:
    if len(data) > max_bytes:
        raise BadInput(f"{what}: {len(data)} bytes, at most {max_bytes} are read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        position = error.start
    else:
        value = _parse_text(text, what=what)
        # An escaped half of a surrogate pair parses, and has no UTF-8 form.
        return _Parsed(value, canonical(value))
    raise BadInput(f"{what}: byte {position} is not UTF-8")


def _parse_text(text: str, *, what: str) -> Json:
    if _too_deep(text):
        raise BadInput(f"{what}: nested deeper than {MAX_DEPTH}")
    try:
        value: Json = json.loads(
            text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_finite, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} at character {error.pos}"
    except _Ambiguous as error:
        reason = str(error)
    else:
        return value
    raise BadInput(f"{what}: {reason}")


class _Ambiguous(ValueError):
    """JSON that parsers disagree on; the message quotes nothing of it."""


def _too_deep(text: str) -> bool:
    depth = 0
    for token in _TOKENS.finditer(text):
        first = token.group()[0]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first in "]}":
            depth -= 1
    return False


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Ambiguous("an object has the same key twice")
    return found


def _integer(literal: str) -> int:
    # The length first: turning a very long literal into an int is slow by itself.
    if len(literal) > 17 or abs(int(literal)) > _MAX_INT:
        raise _Ambiguous("an integer is beyond 2^53 - 1")
    return int(literal)


def _finite(literal: str) -> float:
    number = float(literal)
    if number in (float("inf"), float("-inf")):
        raise _Ambiguous("a number is too large")
    return number


def _constant(_literal: str) -> NoReturn:
    raise _Ambiguous("NaN and infinity are not JSON")

"""Ed25519 verification in plain Python, for an auditor who has a Python interpreter and nothing else.

Promises: the answer of RFC 8032, section 5.1.7, without the cofactor, as OpenSSL gives it: a signature whose S is not
reduced and a point in a second spelling are refused. It verifies only. It holds no secret, so it may take its time and
need not take the same time for every input; signing is the business of `cryptography`.
"""

import hashlib
from dataclasses import dataclass

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Point:
    """Extended homogeneous coordinates (RFC 8032, 5.1.4): x = X/Z, y = Y/Z, x*y = T/Z."""

    X: int
    Y: int
    Z: int
    T: int


_IDENTITY = _Point(0, 1, 1, 0)


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the signature over the message is by the private half of this key.

    Args:
        public_key: 32 bytes.
        signature: 64 bytes: R, then S in little-endian order.
        message: what was signed.
    """
    if len(public_key) != _BYTES or len(signature) != 2 * _BYTES:
        return False
    key, scalar = _decode(public_key), int.from_bytes(signature[_BYTES:], "little")
    if key is None or scalar >= _ORDER:
        return False
    hashed = hashlib.sha512(signature[:_BYTES] + public_key + message).digest()
    challenge = int.from_bytes(hashed, "little") % _ORDER
    # S*B - k*A, spelled out, must be R: comparing bytes refuses a second spelling of R.
    negated = _Point(-key.X % _P, key.Y, key.Z, -key.T % _P)
    return _encode(_add(_times(scalar, _base()), _times(challenge, negated))) == signature[:_BYTES]


def _add(a: _Point, b: _Point) -> _Point:
    """RFC 8032, 5.1.4: complete, so that it doubles too."""
    p = (a.Y - a.X) * (b.Y - b.X) % _P
    q = (a.Y + a.X) * (b.Y + b.X) % _P
    r = 2 * a.T * b.T * _D % _P
    s = 2 * a.Z * b.Z % _P
    e, f, g, h = q - p, s - r, s + r, q + p
    return _Point(e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _times(scalar: int, point: _Point) -> _Point:
    total = _IDENTITY
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point, scalar = _add(point, point), scalar >> 1
    return total


def _base() -> _Point:
    y = 4 * pow(5, -1, _P) % _P
    x = _x_of(y, sign=0)
    if x is None:  # pragma: no cover - a constant of the curve
        raise ArithmeticError("the base point is on the curve")
    return _Point(x, y, 1, x * y % _P)


def _x_of(y: int, *, sign: int) -> int | None:
    """RFC 8032, 5.1.3: the x of a point from its y and its lowest bit; None where there is none."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    return x if x & 1 == sign else _P - x


def _decode(data: bytes) -> _Point | None:
    number = int.from_bytes(data, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    x = _x_of(y, sign=sign) if y < _P else None
    return None if x is None else _Point(x, y, 1, x * y % _P)


def _encode(point: _Point) -> bytes:
    inverse = pow(point.Z, -1, _P)
    x, y = point.X * inverse % _P, point.Y * inverse % _P
    return (y | (x & 1) << 255).to_bytes(_BYTES, "little")

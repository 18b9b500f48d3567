"""Looks for words of erased rows in files: as they are, in any case, escaped as JSON, in base64.

Promises: a word of :data:`SHORTEST` letters or more is found wherever its bytes stand, also inside other words and
across the borders of what is read at once. Compressed or encrypted content is searched as the bytes it is. Words stay
in memory: nothing here prints, logs or writes one.
"""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

SHORTEST = 8
"""Letters of the shortest word that says something: shorter ones stand everywhere. Also the bytes hashed at once."""

WORD = re.compile(rf"[^\W\d_]{{{SHORTEST},}}")
CHUNK = 1 << 22
BITS = 22
MIX = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: 2**64 over the golden ratio, odd


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """The words that are long enough to look for, in lower case and as they were written."""
    return frozenset(word for text in texts for found in WORD.findall(text) for word in (found, found.lower()))


@dataclass(frozen=True, repr=False)
class Words:
    """Words to look for; its ``repr`` says how many.

    Attributes:
        words: each of :data:`SHORTEST` letters or more.
    """

    words: frozenset[str]

    def __repr__(self) -> str:
        return f"Words({len(self)})"

    def __len__(self) -> int:
        return len({word.lower() for word in self.words})

    def without(self, words: Iterable[str]) -> "Words":
        """Without these, in whatever case."""
        gone = {word.lower() for word in words}
        return Words(frozenset(word for word in self.words if word.lower() not in gone))

    def found_in(self, data: bytes) -> frozenset[str]:
        """Those that stand in these bytes, in lower case.

        Every eight bytes are hashed into a table that most of them miss; only where they do not, words are compared.
        """
        low, found = data.lower(), set()
        for offset in range(min(SHORTEST, len(low) - SHORTEST + 1) if self.words else 0):
            grams_N = np.frombuffer(low, "<u8", count=(len(low) - offset) // SHORTEST, offset=offset)
            for at in np.flatnonzero(self._table[_slots(grams_N)]) * SHORTEST + offset:
                for form, word in self._forms.get(low[at : at + SHORTEST], ()):
                    if low.startswith(form, int(at)):
                        found.add(word)
        return frozenset(found)

    def found_in_file(self, path: Path) -> frozenset[str]:
        """Those that stand in this file's bytes, in lower case.

        Raises:
            OSError: the file cannot be read.
        """
        found: set[str] = set()
        with path.open("rb") as stream:
            kept = b""
            while data := stream.read(CHUNK):
                found |= self.found_in(kept + data)
                kept = (kept + data)[-self._longest :]
        return frozenset(found)

    @cached_property
    def _forms(self) -> Mapping[bytes, list[tuple[bytes, str]]]:
        """What may stand in a file, in lower case, by its first eight bytes."""
        found: dict[bytes, list[tuple[bytes, str]]] = defaultdict(list)
        for word in self.words:
            for form in _forms(word):
                found[form[:SHORTEST]].append((form, word.lower()))
        return dict(found)

    @cached_property
    def _table(self) -> npt.NDArray[np.bool_]:
        table = np.zeros(1 << BITS, dtype=np.bool_)
        table[_slots(np.frombuffer(b"".join(self._forms), "<u8"))] = True
        return table

    @cached_property
    def _longest(self) -> int:
        return max((len(form) for forms in self._forms.values() for form, _ in forms), default=1)


def _slots(grams_N: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return (grams_N * MIX) >> np.uint64(64 - BITS)


def _forms(word: str) -> set[bytes]:
    """Every spelling of a word in a file, in lower case; bytes.lower leaves all but ASCII letters alone."""
    cases = {word, word.lower(), word.upper()}
    plain = {case.encode() for case in cases} | {json.dumps(case)[1:-1].encode() for case in cases}
    encoded = {_base64(text, before=before) for text in plain for before in range(3)}
    return {form.lower() for form in plain | encoded}


def _base64(text: bytes, *, before: int) -> bytes:
    """The base64 characters that ``text`` alone decides when ``before`` bytes (mod 3) stand in front of it.

    A character holds 6 bits: of the text's bits [8 * before, 8 * (before + n)) the whole characters are kept.
    """
    whole = base64.b64encode(b"\0" * before + text)
    return whole[-(-8 * before // 6) : 8 * (before + len(text)) // 6]

"""What a bench is: a name and a function that measures. A number is judged by its limit only, where it has one."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        name: what was measured.
        value: the number, in ``unit``.
        unit: for example ``s``, ``MiB``, ``rows/s``.
        limit: the most it may be, or None where there is none.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None

    def document(self) -> dict[str, str | float | bool | None]:
        """The figure and whether it is within its limit, for JSON."""
        return {**asdict(self), "within": None if self.limit is None else self.value <= self.limit}


@dataclass(frozen=True, slots=True)
class Bench:
    """A measurement that ``make bench`` takes.

    Attributes:
        name: unique among the benches.
        measure: takes an empty folder to work in and returns its figures.
    """

    name: str
    measure: Callable[[Path], Sequence[Figure]]

"""What a setting may be, and where a search looks for it: ranges by the setting's dotted name in a configuration.

``training.learning_rate`` is a factor of the configured rate, because a rate that fits depends on the model and who
configures the run knows about where it lies; every other range is in the setting's own unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pipelines.errors import BadInput
from pipelines.settings import Scalar

RATE = "training.learning_rate"


@dataclass(frozen=True, slots=True)
class LogUniform:
    """Any number between the two, each factor as likely as another."""

    low: float
    high: float

    def holds(self, value: Scalar) -> bool:
        """Whether the value lies in the range."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any number between the two."""

    low: float
    high: float

    def holds(self, value: Scalar) -> bool:
        """Whether the value lies in the range."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these."""

    options: tuple[Scalar, ...]

    def holds(self, value: Scalar) -> bool:
        """Whether the value is one of the options."""
        return value in self.options


Range: TypeAlias = LogUniform | Uniform | Choice


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Where a search looks for a method's settings.

    Attributes:
        known: the best setting known so far, tried first; a value for every range.
        ranges: by dotted name.
    """

    known: Mapping[str, Scalar]
    ranges: Mapping[str, Range]

    def __post_init__(self) -> None:
        """Refuse a space whose first try lies outside of it.

        Raises:
            BadInput: names the setting.
        """
        for name in self.known.keys() ^ self.ranges.keys():
            raise BadInput(f"search space: {name} needs a range and a known value")
        for name, value in self.known.items():
            if not self.ranges[name].holds(value):
                raise BadInput(f"search space: {name} {value!r} lies outside of {self.ranges[name]}")

    def beside(self, known: Mapping[str, Scalar], ranges: Mapping[str, Range]) -> "SearchSpace":
        """This space with further settings, or other ones in the place of its own."""
        return SearchSpace(known={**self.known, **known}, ranges={**self.ranges, **ranges})

"""How a search is run: over which methods, with how much, how many at a time."""

import re
from typing import Literal

from pydantic import Field, field_validator

from pipelines.errors import BadInput
from pipelines.records import Record
from pipelines.settings import Name

_BUDGET = re.compile(r"(\d+)(s|m|h|)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Budget(Record):
    """What a search may use: seconds or trials, one of the two."""

    seconds: float | None = Field(default=None, gt=0, title="Seconds", description="By the clock, over all tries.")
    trials: int | None = Field(default=None, ge=1, title="Trials", description="Settings and further seeds together.")

    @classmethod
    def parsed(cls, text: str) -> "Budget":
        """A budget as it is written: ``600s``, ``10m`` or ``1h`` of time, or a bare number of trials.

        Raises:
            BadInput: neither of the two.
        """
        found = _BUDGET.fullmatch(text.strip())
        if found is None or int(found[1]) == 0:
            raise BadInput(f"budget {text!r}: write seconds, minutes or hours as 600s, 10m, 1h, or a number of trials")
        number, unit = int(found[1]), found[2]
        return cls(seconds=number * _SECONDS[unit]) if unit else cls(trials=number)


class SearchSettings(Record):
    """What decides how a search goes, beside the configuration it starts from."""

    methods: tuple[Name, ...] = Field(
        default=(), title="Methods", description="Names from 'lethe list methods'; empty for all."
    )
    budget: Budget = Field(default=Budget(seconds=600), title="Budget", description="Seconds or trials.")
    seeds: int = Field(
        default=3, ge=1, le=20, title="Seeds", description="A winner passes with this many seeds of its training."
    )
    finalists: int = Field(default=3, ge=1, le=20, title="Finalists", description="Settings run with all the seeds.")
    jobs: int = Field(default=1, ge=1, le=256, title="Jobs", description="Trials at a time.")
    runner: Literal["process", "thread", "ray", "dask"] = Field(
        default="process",
        title="Runner",
        description="Where trials run: processes of this machine, this process (one at a time), a Ray or Dask cluster.",
    )

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        from pipelines.methods import METHODS  # noqa: PLC0415 - loads torch, when a search is configured

        return tuple(dict.fromkeys(METHODS.require(name).name for name in names))

    def chosen(self) -> tuple[str, ...]:
        """The methods' names; all of them where none was named."""
        from pipelines.methods import METHODS  # noqa: PLC0415 - loads torch, when a search is configured

        return self.methods or tuple(METHODS)

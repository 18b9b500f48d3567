"""A log of another project as numbers per row and split, whatever file it came from. Holds no text.

Believes nothing that can be computed: values that a file reports for itself are kept apart.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.scoring.table import Floats


@dataclass(frozen=True, slots=True)
class ImportedLog:
    """What a log says of one model.

    Attributes:
        format: name of the file format.
        probability: by split, probability of the right answer per row; over the options on utility sets.
        rouge: by split, ROUGE-L recall per row.
        log_truth_ratio: by split, log R per row.
        reported: (metric, split) to the value that the file itself states.
    """

    format: str
    probability: Mapping[str, Floats]
    rouge: Mapping[str, Floats]
    log_truth_ratio: Mapping[str, Floats]
    reported: Mapping[tuple[str, str], float]


def number(value: object) -> float:
    """A JSON number, NaN included; null is NaN.

    Raises:
        TypeError: it is something else.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf

"""What must hold of a forget set and of a retain set, as expectations over profiles that hold no text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipelines.config import QualitySettings
from pipelines.data.profile import COLUMNS

Severity = Literal["critical", "warning"]
Values = Mapping[str, object]

COUNTS = ("question_chars", "answer_chars", "tokens")


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation: its name in the library, the column it looks at, what is allowed, and what a failure means."""

    type: str
    column: str | None = None
    values: Values = field(default_factory=dict)
    severity: Severity = "critical"

    @property
    def kwargs(self) -> dict[str, object]:
        """As the library takes them."""
        return dict(self.values) | ({"column": self.column} if self.column is not None else {})


def _rules(*, copies: Severity, near_may_stay: bool) -> list[Rule]:
    """What must hold of either set."""
    near: Severity = "warning" if near_may_stay else "critical"
    never: Values = {"value_set": [False]}
    return [
        Rule("expect_table_columns_to_match_ordered_list", values={"column_list": list(COLUMNS)}),
        *(Rule("expect_column_values_to_not_be_null", column) for column in COLUMNS),
        *(Rule("expect_column_values_to_be_between", column, {"min_value": 0}) for column in COUNTS),
        Rule("expect_column_values_to_be_unique", "row", severity=copies),
        Rule("expect_column_values_to_be_in_set", "answer_blank", never),
        Rule("expect_column_values_to_be_in_set", "fits_context", {"value_set": [True]}),
        Rule("expect_column_values_to_be_in_set", "in_other_set", never),
        Rule("expect_column_values_to_be_in_set", "near_other_set", never, near),
    ]


def forget_rules(*, most: int, near_may_stay: bool) -> list[Rule]:
    """What must hold of a forget set of at most ``most`` rows."""
    return [
        *_rules(copies="critical", near_may_stay=near_may_stay),
        Rule("expect_table_row_count_to_be_between", values={"min_value": 1, "max_value": most}),
        Rule("expect_column_values_to_be_in_set", "has_paraphrase", {"value_set": [True]}, "warning"),
    ]


def retain_rules(quality: QualitySettings, *, near_may_stay: bool) -> list[Rule]:
    """What must hold of a retain set; the model may have been trained on copies, so they are a warning."""
    return [
        *_rules(copies="warning", near_may_stay=near_may_stay),
        Rule("expect_table_row_count_to_be_between", values={"min_value": quality.min_retain}),
        Rule("expect_column_sum_to_be_between", "neighbour", {"min_value": quality.min_neighbours}),
    ]

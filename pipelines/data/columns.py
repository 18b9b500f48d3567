"""Records with the column names people use become rows with ours; what does not fit is refused by row number.

Four shapes are read: question and answer (with the optional columns of TOFU), prompt and completion, chat messages,
plain text. Promises that a message names the file, the row and the column, and never quotes a value. Other columns are
ignored.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.data.rows import Row
from pipelines.errors import BadInput

Values = Mapping[str, object]

ALLOWED = "question + answer, prompt + completion, messages, or text"
OPTIONAL = ("paraphrased_question", "paraphrased_answer", "perturbed_answer")


@dataclass(frozen=True, slots=True)
class Shape:
    """One way in which columns hold a question and its answer.

    Attributes:
        columns: that every record must have.
        read: makes a row of one record; ``where`` begins its error messages.
    """

    columns: tuple[str, ...]
    read: Callable[[Values, str], Row]


def rows_from(records: Sequence[Values], *, where: str) -> list[Row]:
    """Rows of records in whichever of the four shapes their columns fit.

    Args:
        records: column name to value, one per row.
        where: begins every error message, for example the file's path.

    Raises:
        BadInput: no record, no known shape, or a value that is missing, null, blank or of another type.
    """
    if not records:
        raise BadInput(f"{where}: there are no rows; at least one is needed")
    found = list(dict.fromkeys(name for record in records for name in record))
    shape = next((shape for shape in SHAPES if set(shape.columns) <= set(found)), None)
    if shape is None:
        raise BadInput(f"{where}: the columns are {_listed(found)}; needed are {ALLOWED}")
    return [shape.read(record, f"{where}: row {i}") for i, record in enumerate(records)]


def _listed(names: Sequence[str], *, limit: int = 20) -> str:
    # A file without a header has text where names should be: only what looks like a name is repeated.
    shown = [name if name.isidentifier() and len(name) <= 40 else "(not a name)" for name in names[:limit]]
    return ", ".join(dict.fromkeys(shown)) or "none"


def _text(record: Values, column: str, where: str) -> str:
    if column not in record:
        raise BadInput(f"{where}: column {column} is missing; every row needs it")
    value = record[column]
    if not isinstance(value, str):
        kind = "null" if value is None else type(value).__name__
        raise BadInput(f"{where}: column {column} is {kind}; a string is needed")
    return value


def _answer(record: Values, column: str, where: str) -> str:
    value = _text(record, column, where)
    if not value.strip():
        raise BadInput(f"{where}: column {column} is blank; some text is needed")
    return value


def _optional(record: Values, column: str, where: str) -> str | None:
    return None if record.get(column) is None else _answer(record, column, where)


def _perturbed(record: Values, where: str) -> tuple[str, ...]:
    value = record.get("perturbed_answer")
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise BadInput(f"{where}: column perturbed_answer is not a list of strings; a list of wrong answers is needed")
    return tuple(value)


def _question_answer(record: Values, where: str) -> Row:
    return Row(
        question=_text(record, "question", where),
        answer=_answer(record, "answer", where),
        paraphrased_question=_optional(record, "paraphrased_question", where),
        paraphrased_answer=_optional(record, "paraphrased_answer", where),
        perturbed_answer=_perturbed(record, where),
    )


def _prompt_completion(record: Values, where: str) -> Row:
    return Row(question=_text(record, "prompt", where), answer=_answer(record, "completion", where))


def _plain(record: Values, where: str) -> Row:
    return Row(question="", answer=_answer(record, "text", where))


def _chat(record: Values, where: str) -> Row:
    """The last assistant turn is the answer, the user turns before it the question; other roles are not looked at."""
    turns = record.get("messages")
    if (
        not isinstance(turns, Sequence)
        or isinstance(turns, str)
        or not all(isinstance(turn, Mapping) for turn in turns)
    ):
        raise BadInput(f"{where}: column messages is not a list of turns; a list of {{role, content}} is needed")
    last = next((i for i in reversed(range(len(turns))) if turns[i].get("role") == "assistant"), None)
    if last is None:
        raise BadInput(f"{where}: no turn has the role assistant; the last one is taken as the answer")
    asked = [_text(turn, "content", f"{where}: messages") for turn in turns[:last] if turn.get("role") == "user"]
    return Row(question="\n".join(asked), answer=_answer(turns[last], "content", f"{where}: messages"))


SHAPES = (
    Shape(columns=("question", "answer"), read=_question_answer),
    Shape(columns=("prompt", "completion"), read=_prompt_completion),
    Shape(columns=("messages",), read=_chat),
    Shape(columns=("text",), read=_plain),
)
"""In the order in which they are tried."""


def json_list(value: str) -> object:
    """A list written as JSON inside one CSV cell; None for an empty cell, the text itself where it is no JSON."""
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except ValueError:
        return value

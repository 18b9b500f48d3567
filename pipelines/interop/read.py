"""Reading a log file of another project; its format is told by what is in it.

Such files also hold questions, answers and generations of the forget set: none of that is kept, shown or named in an
error.
"""

import json
from pathlib import Path

from pipelines.errors import BadInput
from pipelines.interop import open_unlearning, tofu
from pipelines.interop.imported import ImportedLog

LARGEST_BYTES = 512 * 2**20
"""No published log comes near; a larger file is not one."""


def read_log(path: Path) -> ImportedLog:
    """The log in a file.

    Raises:
        BadInput: the file cannot be read, is no JSON object, is of no known format, or
            what should be numbers are not.
    """
    document = _read_json(path)
    if tofu.recognises(document, path.name):
        return tofu.parse(document, where=path)
    if open_unlearning.recognises(document):
        return open_unlearning.parse(document, where=path)
    raise BadInput(f"{path}: format not known; known: {tofu.FILES}, {open_unlearning.FILES}")


def _read_json(path: Path) -> dict[str, object]:
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise BadInput(f"{path}: {size} bytes; a log of at most {LARGEST_BYTES} is read")
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        problem = "no such file"
    except OSError as error:
        problem = type(error).__name__
    except (ValueError, RecursionError):  # the decoder's own message quotes the file
        problem = "not valid JSON"
    else:
        if isinstance(document, dict):
            return document
        problem = "not a JSON object"
    raise BadInput(f"{path}: {problem}; a readable JSON log is needed")

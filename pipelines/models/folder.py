"""Which folders count as a model: weights as safetensors, JSON, tokenizer files, and nothing that could run code.

Looks at names and at what the JSON files say; imports no machine-learning library and loads no weight. That the files
are the ones somebody measured is a matter of the folder's digest, not of this module.
"""

import json
import stat
from pathlib import Path

from pipelines.errors import BadInput

SUFFIXES = frozenset({".safetensors", ".json", ".jinja"})
NAMES = frozenset(
    {
        "tokenizer.model",
        "vocab.txt",
        "merges.txt",
        "README.md",
        "LICENSE",
        "LICENSE.txt",
        "LICENSE.md",
        "NOTICE",
        "NOTICE.txt",
    }
)
CODE_KEYS = frozenset({"auto_map", "trust_remote_code", "_attn_implementation_internal"})
"""Keys with which a JSON file makes a loader import or fetch code."""
INDEX = "model.safetensors.index.json"
UNIMPORTANT = ("_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache")
"""In a model's settings: what does not decide whether one model's weights fit into another's place."""


def check_model_folder(folder: Path) -> None:
    """Accept a folder that can be loaded without running code from it.

    Raises:
        BadInput: not a folder; a symlink or special file; a file that is not on the allowlist; a JSON file that is not
            JSON or asks for code; no config.json; no weights; a weight file that the index names and that is not there.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise BadInput(f"{folder}: no such model folder (a symlink to one is not followed)")
    for path in sorted(folder.rglob("*")):
        _check_entry(path)
    if not (folder / "config.json").is_file():
        raise BadInput(f"{folder}: no config.json; a Hugging Face model folder with safetensors weights is needed")
    _check_weights(folder)


def _check_entry(path: Path) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode) or not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise BadInput(f"{path}: a model folder holds plain files and folders only (no symlink, pipe or device)")
    if not stat.S_ISREG(mode):
        return
    if path.suffix not in SUFFIXES and path.name not in NAMES:
        allowed = ", ".join([*(f"*{suffix}" for suffix in sorted(SUFFIXES)), *sorted(NAMES)])
        raise BadInput(f"{path}: not allowed in a model folder; allowed: {allowed}")
    if path.suffix == ".json":
        _read_json(path)


class _AsksForCode(ValueError):
    """A JSON object has a key that makes a loader run code."""


def _without_code(pairs: list[tuple[str, object]]) -> dict[str, object]:
    for key, value in pairs:
        # An implementation with a slash in its name is a kernel that would be fetched from a hub.
        if key in CODE_KEYS or (key.endswith("_implementation") and isinstance(value, str) and "/" in value):
            raise _AsksForCode(key)
    return dict(pairs)


def _read_json(path: Path) -> object:
    try:
        value: object = json.loads(path.read_bytes(), object_pairs_hook=_without_code)
    except _AsksForCode as error:
        problem = f"{error} asks for code to be run; only models that need no code of their own are loaded"
    except RecursionError:
        problem = "nested too deep"
    except (OSError, ValueError) as error:
        problem = f"not readable JSON ({type(error).__name__})"
    else:
        return value
    raise BadInput(f"{path}: {problem}")


def _check_weights(folder: Path) -> None:
    if (folder / INDEX).is_file():
        for shard in _indexed(folder / INDEX):
            if Path(shard).name != shard or not (folder / shard).is_file():
                raise BadInput(f"{folder / INDEX}: names {shard!r}, which is not a file of the folder")
    elif not (folder / "model.safetensors").is_file():
        raise BadInput(f"{folder}: no model.safetensors and no {INDEX}; weights as safetensors are needed")


def _indexed(index: Path) -> list[str]:
    value = _read_json(index)
    weight_map = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadInput(f"{index}: no weight_map from tensor names to files")
    return sorted({str(name) for name in weight_map.values()})


def check_base(base: Path, start: Path, *, what: str) -> None:
    """Accept a model that another one may have been fine-tuned from: of one architecture and one tokenizer.

    Args:
        base: the folder of the model before.
        start: the folder of the model after.
        what: names the base in the message.

    Raises:
        BadInput: the folder is no model's, or the two differ.
    """
    check_model_folder(base)
    for name in ("config.json", "tokenizer.json"):
        if _said(base / name) != _said(start / name):
            raise BadInput(f"{what}: {name} of base {base} differs from the start model's; they must agree")


def _said(file: Path) -> object:
    """What a JSON file says, but for the element type and what a library notes about itself."""
    if not file.is_file():
        return None
    said = json.loads(file.read_bytes())
    return {key: value for key, value in said.items() if key not in UNIMPORTANT}

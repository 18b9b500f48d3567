"""Every attack on the loading of a model is refused before any of its code could run; no control is idle.

An attack is a folder `<name>_fail` with a README.md and an attack.py: adding one touches nothing else.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.audit.manifest import folder_digest
from pipelines.errors import BadInput
from pipelines.models import folder as model_folder
from pipelines.models import loading as models
from pipelines.models.loading import load_model
from tests.attacks.cases import attack_names, attack_of, says_why
from tests.tiny import save_tiny

HERE = Path(__file__).parent
ATTACKS = attack_names(HERE)


def _module(name: str) -> Any:
    return attack_of(HERE, name)


def _load(folder: Path, digest: str) -> None:
    load_model(folder, device=torch.device("cpu"), expected_digest=digest)


def test_the_honest_folder_loads(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model")
    _load(folder, folder_digest(folder))


def _spoiled(name: str, root: Path) -> str:
    """Spoil a folder, and the digest that was recorded for it: its maker's own, unless it changed afterwards."""
    folder = save_tiny(root / "model")
    honest = folder_digest(folder)
    _module(name).attack(folder, root / "canary")
    return honest if name in {"swapped_after_fail", "symlinked_weights_fail"} else folder_digest(folder)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_nothing_of_it_runs(name: str, tmp_path: Path) -> None:
    digest = _spoiled(name, tmp_path)
    with pytest.raises(BadInput, match=_module(name).STOPPED_BY):
        _load(tmp_path / "model", digest)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_says_why_it_must_be_refused(name: str) -> None:
    says_why(HERE, name)


def _replaced(module: object, name: str, value: object) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(module, name, value)


class _Fits(str):
    """A digest that fits everything."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


CONTROLS: Mapping[str, Callable[[pytest.MonkeyPatch], None]] = {
    "allowlist of names": _replaced(model_folder, "SUFFIXES", frozenset({".safetensors", ".json", ".jinja", ".bin"})),
    "keys that ask for code": _replaced(model_folder, "_without_code", dict),
    "weights in the folder": _replaced(model_folder, "_check_weights", lambda folder: None),
    "plain files only": _replaced(model_folder, "_check_entry", lambda path: None),
    "digest": _replaced(models, "folder_digest", lambda folder: _Fits("0" * 64)),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_no_control_is_idle(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one control taken away, at least one attack gets past it, into memory or as far as the libraries."""
    digests = {attack: _spoiled(attack, tmp_path / attack) for attack in ATTACKS}
    CONTROLS[name](monkeypatch)
    assert any(_gets_past(attack, tmp_path / attack / "model", digest) for attack, digest in digests.items())


def _gets_past(attack: str, folder: Path, digest: str) -> bool:
    try:
        _load(folder, digest)
    except BadInput as error:
        return _module(attack).STOPPED_BY not in str(error)
    return True

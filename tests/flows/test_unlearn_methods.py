"""``lethe unlearn`` with every method, on the tiny model and on the demo world; and what it refuses beforehand."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from flows.cli import run
from pipelines.audit.label import LABEL_FILE, label_for
from pipelines.audit.manifest import folder_digest
from pipelines.methods import METHODS
from pipelines.methods.base import Procedure
from pipelines.models.loading import load_model
from pipelines.world import WorldSpec, build_world
from tests.flows.company import write_rows
from tests.tiny import save_tiny, tiny_rows

EVERY = pytest.mark.parametrize("method", METHODS)
DIFFERENT = ("eul", "in_context", "retrain")
"""Adapters, no training at all, a training of another model; the others go as these or as the loop's own tests."""
EVERY_IN_TIME = pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[] if name in DIFFERENT else pytest.mark.slow) for name in METHODS]
)


@dataclass(frozen=True, slots=True)
class Place:
    """Models and rows on disk that a method is tried on."""

    start: Path
    base: Path
    forget: Path
    retain: Path

    def unlearn(self, method: str, out: Path, *more: str, code: int = 0, lora: str | None = None) -> None:
        """The command, with what every method needs to run at all."""
        files = {"--model": self.start, "--forget": self.forget, "--retain": self.retain, "--out": out}
        given = [str(part) for pair in files.items() for part in pair]
        if method == "retrain":
            given += ["--set", f"base={self.base}", "--set", f"base_digest={folder_digest(self.base)}"]
        rank = lora or ("4" if METHODS.require(method).adapters == "always" else "0")
        arguments = ["--method", method, "--lora-r", rank, "--device", "cpu", "--home", str(out.parent / "home")]
        assert run(["unlearn", *given, *arguments, *more]) == code


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("tiny")
    return Place(
        start=save_tiny(root / "start"),
        base=save_tiny(root / "base", seed=1),
        forget=write_rows(root / "forget.jsonl", tiny_rows(4)),
        retain=write_rows(root / "retain.jsonl", tiny_rows(4, first=20)),
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Place:
    world = build_world(tmp_path_factory.mktemp("demo"), spec=WorldSpec())
    return Place(start=world.start, base=world.base, forget=world.rows("forget"), retain=world.rows("retain"))


def check(place: Place, method: str, out: Path, *more: str, said: Callable[[], str]) -> None:
    """The folder that was named holds what was said, it loads, and either its weights or its label are other ones."""
    place.unlearn(method, out, "--json", *more)
    made = json.loads(said())
    assert (made["method"], made["model"]["digest"]) == (method, folder_digest(out))
    assert made["parent_digest"] == folder_digest(place.start)
    loaded = load_model(out, device=torch.device("cpu"))
    start = load_model(place.start, device=torch.device("cpu")).model.state_dict()
    moved = [name for name, tensor in loaded.model.state_dict().items() if not torch.equal(tensor, start[name])]
    assert all(bool(tensor.isfinite().all()) for tensor in loaded.model.state_dict().values())
    if label_for(method) is None:
        assert moved
        assert loaded.context is None
    else:
        assert not moved
        assert loaded.context is not None
        assert (out / LABEL_FILE).is_file()


@EVERY_IN_TIME
def test_every_method_makes_a_model(
    tiny: Place, method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ("--epochs", "2", "--batch-size", "4", "--learning-rate", "1e-3")
    check(tiny, method, tmp_path / "out", *quick, said=lambda: capsys.readouterr().out)


@pytest.mark.slow
@EVERY
def test_every_method_makes_a_model_of_the_demo_world(
    demo: Place, method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ("--epochs", "2", "--batch-size", "20", "--learning-rate", "4e-4")
    check(demo, method, tmp_path / "out", *quick, said=lambda: capsys.readouterr().out)


def bad(method: str) -> list[tuple[Sequence[str], str]]:
    """Settings that a method must refuse, and what it is to say."""
    known = METHODS.require(method)
    found: list[tuple[Sequence[str], str]] = [
        (("--set", "no_such=1"), "no_such: Extra inputs are not permitted; known: gamma"),
        (("--set", "gamma=0"), "gamma: Input should be greater than"),
        (("--set", "alpha=-1"), "alpha: Input should be greater than or equal to 0"),
        (("--set", "retain_term=often"), "retain_term: Input should be 'none'"),
        (("--training", "mask=often"), "mask: Input should be"),
        (("--stop", "never"), "stop: Input should be"),
        (("--stop", "holdout"), "stop"),  # nobody gave rows that it could look at, or the method takes none
    ]
    if isinstance(known, Procedure):
        found.append((("--training", "l2=0.1"), "this one is a procedure: leave them out"))
    if known.adapters == "never":
        found.append((("--lora-r", "4"), "takes no LoRA adapters; leave lora out"))
    if known.adapters == "always":
        found.append((("--lora-r", "0"), "trains LoRA adapters only; give lora settings"))
    return found


@EVERY
def test_bad_settings_are_refused_before_any_training_with_what_is_allowed(
    tiny: Place, method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in bad(method):
        capsys.readouterr()
        tiny.unlearn(method, tmp_path / "out", *arguments, code=2)
        shown = capsys.readouterr().err
        assert said in shown, (method, arguments, shown)
        assert shown.count("\n") == 1
        assert not list(tmp_path.glob("out*"))


def test_an_unknown_method_is_refused_with_those_there_are(
    tiny: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--model", str(tiny.start), "--forget", str(tiny.forget), "--retain", str(tiny.retain)]
    assert run(["unlearn", *files, "--method", "hope", "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert all(name in shown for name in METHODS)

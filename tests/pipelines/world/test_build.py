"""A world is built once, resumes where it was killed, is built anew where it was changed, and loads like any model."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipelines.audit.manifest import folder_digest
from pipelines.data.load import load_rows
from pipelines.models.folder import check_model_folder
from pipelines.training.finetune import FineTuneSettings
from pipelines.world import ModelSpec, PeopleSpec, World, WorldSpec, build_world

ONE_EPOCH = FineTuneSettings(epochs=1, batch_size=32, learning_rate=1e-3)
TINY = WorldSpec(
    people=PeopleSpec(
        train_authors=2,
        holdout_authors=1,
        validation_authors=1,
        base_people=2,
        countries=4,
        writers=4,
        general_repeats=1,
    ),
    model=ModelSpec(vocabulary=400, width=16, feed_forward=32, layers=1, heads=2, context=192),
    base=ONE_EPOCH,
    tuning=ONE_EPOCH,
)
STAGES = ("data", "base", "start", "reference")


class Killed(BaseException):
    """Stands for a signal that nothing catches."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def world(home: Path) -> World:
    return build_world(home, spec=TINY)


@pytest.fixture
def copy(home: Path, world: World, tmp_path: Path) -> Path:
    """Another folder with the finished world in it."""
    return shutil.copytree(home, tmp_path / "copy")


def rebuilt(directory: Path, *, spec: WorldSpec = TINY) -> list[str]:
    """Stages that a build had to do."""
    said: list[str] = []
    build_world(directory, spec=spec, progress=said.append)
    return [line.partition(":")[0] for line in said if line.endswith(": building")]


def test_models_load_like_any_other(world: World) -> None:
    for folder in (world.base, world.start, world.reference):
        check_model_folder(folder)
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        asked = tokenizer("Question: Whom? Ünïcödé\nAnswer:", return_tensors="pt")
        assert model(**asked).logits.shape[-1] == len(tokenizer)
        assert (model.config.pad_token_id, model.config.eos_token_id) == (
            tokenizer.pad_token_id,
            tokenizer.eos_token_id,
        )
        text = "Any text: ß 漢字 🙂"
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_files_hold_the_sets(world: World) -> None:
    train, forget, retain = (load_rows(str(world.rows(name)), name=name) for name in ("train", "forget", "retain"))
    assert list(train) == [*retain, *forget]
    assert len(forget) == 20


def test_start_and_reference_differ_and_come_from_the_same_base(world: World) -> None:
    digests = {folder_digest(folder) for folder in (world.base, world.start, world.reference)}
    assert len(digests) == 3


def test_same_spec_gives_the_same_bytes_whatever_the_number_of_threads(world: World, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(99)
    try:
        again = build_world(tmp_path, spec=TINY)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert again.digest == world.digest


def test_second_call_does_nothing(home: Path, world: World) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    assert build_world(home, spec=TINY) == world
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()} == before
    assert rebuilt(home) == []


@pytest.mark.parametrize("stage", STAGES)
def test_killed_build_resumes_at_its_stage(stage: str, world: World, tmp_path: Path) -> None:
    def kill(line: str) -> None:
        if line == f"{stage}: building":
            raise Killed

    with pytest.raises(Killed):
        build_world(tmp_path, spec=TINY, progress=kill)
    assert not (tmp_path / stage).exists()
    assert rebuilt(tmp_path) == list(STAGES[STAGES.index(stage) :])
    assert build_world(tmp_path, spec=TINY).digest == world.digest


def test_killed_in_the_middle_of_training_leaves_no_model(tmp_path: Path) -> None:
    def kill(line: str) -> None:
        if line.startswith("epoch"):
            raise Killed

    with pytest.raises(Killed):
        build_world(tmp_path, spec=TINY, progress=kill)
    assert (tmp_path / "base.part").is_dir()
    assert not (tmp_path / "base").exists()
    assert rebuilt(tmp_path) == ["base", "start", "reference"]
    assert not (tmp_path / "base.part").exists()


@pytest.mark.parametrize(
    "changed",
    ["data/forget.jsonl", "base/model/model.safetensors", "start/model/config.json", "reference/model/tokenizer.json"],
)
def test_changed_file_is_built_anew(changed: str, world: World, copy: Path) -> None:
    path = copy / changed
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(bytes(data))
    assert rebuilt(copy) == [changed.partition("/")[0]]
    assert build_world(copy, spec=TINY).digest == world.digest


@pytest.mark.parametrize("damage", ["removed", "broken"])
def test_without_its_record_nothing_is_trusted(damage: str, copy: Path) -> None:
    record = copy / "world.json"
    record.unlink() if damage == "removed" else record.write_text("[")
    assert rebuilt(copy) == list(STAGES)


def test_another_spec_rebuilds_only_what_it_decides(copy: Path) -> None:
    longer = TINY.model_copy(update={"tuning": ONE_EPOCH.model_copy(update={"seed": 5})})
    assert rebuilt(copy, spec=longer) == ["start", "reference"]
    assert rebuilt(copy, spec=longer.model_copy(update={"seed": 1})) == list(STAGES)

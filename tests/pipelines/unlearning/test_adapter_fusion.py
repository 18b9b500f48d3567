"""Adapters of several requests: each alone is its own candidate, both together keep both, and what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.models.adapters import add_adapters
from pipelines.models.loading import load_model
from pipelines.records import ModelRef
from pipelines.settings import LoraSettings, TrainingSettings
from pipelines.training.checkpoints import load_trained
from pipelines.unlearning.adapter_fusion import FACTS, fuse, read_facts
from pipelines.unlearning.job import UnlearningJob, encode_set
from pipelines.unlearning.stages import reference_statistics, train, unlearn
from tests.jobs import FORGET, save_taught, tiny_job

CPU = torch.device("cpu")
LORA = LoraSettings(r=4, alpha=16)
SETTINGS = TrainingSettings(epochs=6, batch_size=2, learning_rate=3e-3)
HALVES = {"first": Rows.of(FORGET[:3]), "second": Rows.of(FORGET[3:])}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


@pytest.fixture(scope="module")
def kept(model: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A candidate and a kept adapter of each of two requests: ``<name>`` and ``<name>.adapter``."""
    folder = tmp_path_factory.mktemp("kept")
    for name, rows in HALVES.items():
        unlearn(_job(model, rows), folder / name, adapter=folder / f"{name}.adapter")
    return folder


def _job(model: ModelRef, rows: Rows) -> UnlearningJob:
    return tiny_job(model, method="eul", params={"alpha": 2.0}, lora=LORA, training=SETTINGS, forget=rows)


def _nll(model: ModelRef, folder: Path | str, rows: Rows) -> float:
    loaded = load_model(folder, device=CPU)
    job, values = tiny_job(model), []
    for item in encode_set(loaded, job, rows, name="any"):
        ids = torch.tensor([item.input_ids])
        with torch.no_grad():
            log_p = loaded.model(ids).logits[0, :-1].log_softmax(-1)
        values.append(float(-log_p.gather(-1, ids[0, 1:, None])[item.answer_start - 1 : item.answer_end - 1].mean()))
    return sum(values) / len(values)


def test_one_adapter_alone_is_the_candidate_it_came_from(model: ModelRef, kept: Path, tmp_path: Path) -> None:
    fuse(Path(model.path), [kept / "first.adapter"], tmp_path / "out")
    found, expected = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", kept / "first"))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=1e-4)


def test_both_requests_are_kept_and_one_can_be_taken_back(model: ModelRef, kept: Path, tmp_path: Path) -> None:
    """Against the start model: fused, both halves are less likely; with the first alone, the second is back."""
    both, alone = tmp_path / "both", kept / "first"
    fuse(Path(model.path), [kept / "first.adapter", kept / "second.adapter"], both)
    start = {name: _nll(model, model.path, rows) for name, rows in HALVES.items()}
    fused = {name: _nll(model, both, rows) for name, rows in HALVES.items()}
    own = {name: _nll(model, kept / name, rows) for name, rows in HALVES.items()}
    for name in HALVES:
        assert own[name] > start[name] + 0.3
        assert fused[name] > start[name] + 0.5 * (own[name] - start[name])
    assert _nll(model, alone, HALVES["first"]) > _nll(model, alone, HALVES["second"])


def test_the_gram_matrices_are_those_of_the_layers_inputs(model: ModelRef, kept: Path, tmp_path: Path) -> None:
    """One layer by hand: its inputs over every token of every forget row, in the model with its adapter on."""
    job = _job(model, HALVES["first"])
    reference_statistics(job, tmp_path)
    train(job, tmp_path, reference=tmp_path)
    loaded = load_model(model.path, device=CPU)
    subject = add_adapters(loaded.model, LORA, seed=job.seed)
    load_trained(subject, tmp_path / "trained.safetensors")
    seen: list[torch.Tensor] = []
    layer = subject.get_submodule("base_model.model.model.layers.1.mlp.down_proj")
    layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0][0].detach()))
    for item in encode_set(loaded, job, job.forget, name="forget"):
        subject(input_ids=torch.tensor([item.input_ids]), use_cache=False)
    inputs_TI = torch.cat(seen)
    stored = load_file(kept / "first.adapter" / "adapter.safetensors")
    torch.testing.assert_close(
        stored["gram/model.layers.1.mlp.down_proj"], inputs_TI.T @ inputs_TI, atol=1e-3, rtol=1e-3
    )


def test_a_kept_adapter_is_private_and_says_what_it_is(model: ModelRef, kept: Path) -> None:
    folder = kept / "first.adapter"
    assert folder.stat().st_mode & 0o777 == 0o700
    facts = read_facts(folder)
    assert (facts.start, facts.lora, facts.method, facts.rows) == (model.digest, LORA, "eul", 3)
    assert not any(row.answer in (folder / FACTS).read_text() for row in FORGET)


class TestRefused:
    def test_an_adapter_of_another_model(self, kept: Path, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="made from another model"):
            fuse(kept / "first", [kept / "first.adapter"], tmp_path / "out")

    def test_the_same_adapter_twice(self, model: ModelRef, kept: Path, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="given twice"):
            fuse(Path(model.path), [kept / "first.adapter"] * 2, tmp_path / "out")

    def test_a_folder_without_one(self, model: ModelRef, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="no kept adapter"):
            fuse(Path(model.path), [tmp_path], tmp_path / "out")

    def test_keeping_what_is_not_trained(self, model: ModelRef, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="give lora settings"):
            unlearn(tiny_job(model), tmp_path / "out", adapter=tmp_path / "adapter")

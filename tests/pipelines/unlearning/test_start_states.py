"""The start model's word on logits and hidden states: what is read back is what one row at a time says."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.config import TrainingSettings
from pipelines.data.encode import Encoded
from pipelines.errors import BadInput
from pipelines.methods import METHODS
from pipelines.models.loading import LoadedModel, load_model
from pipelines.records import ModelRef
from pipelines.scoring.likelihood import answer_batch, answer_pass
from pipelines.training.loop import Progress
from pipelines.unlearning.job import load_start
from pipelines.unlearning.reference import REFERENCE, reference_statistics, training_data
from pipelines.unlearning.stages import unlearn
from pipelines.unlearning.start_states import FINAL, OutputHead, StartStates, states_of
from tests.jobs import save_taught, tiny_job
from tests.tiny import save_tiny

CPU = torch.device("cpu")
ITEMS = [
    Encoded(input_ids=(1, 40, 41, 42, 50, 51, 2), answer_start=4, answer_end=6),
    Encoded(input_ids=(1, 60, 70, 71, 72, 73, 74, 75, 2), answer_start=2, answer_end=8),
    Encoded(input_ids=(30, 91, 2), answer_start=0, answer_end=2),
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(save_tiny(tmp_path_factory.mktemp("tiny") / "model"), device=CPU)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


def _alone(loaded: LoadedModel, item: Encoded, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States and logits at the positions that predict the answer tokens and the end, of a row without padding."""
    with torch.no_grad():
        output = loaded.model(torch.tensor([item.input_ids]), output_hidden_states=True)
    span = slice(max(item.answer_start, 1) - 1, len(item) - 1)
    return output.hidden_states[layer][0, span], output.logits[0, span]


@pytest.mark.parametrize("layer", [1, FINAL])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_states_are_the_models_own_row_by_row(loaded: LoadedModel, layer: int, batch_size: int) -> None:
    found = states_of(loaded, ITEMS, layer=layer, batch_size=batch_size, device=CPU)
    expected = torch.cat([_alone(loaded, item, layer)[0] for item in ITEMS])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("index", [(0, 1, 2), (2, 0), (1,)])
def test_logits_made_again_are_the_start_models_where_a_batch_has_them(
    loaded: LoadedModel, tmp_path: Path, index: tuple[int, ...]
) -> None:
    """Other rows beside a row move its answer to other columns; the file is in the order of the rows."""
    save_file({"final": states_of(loaded, ITEMS, layer=FINAL, batch_size=2, device=CPU)}, tmp_path / "s.safetensors")
    stored = StartStates(tmp_path / "s.safetensors", "final", dict(enumerate(ITEMS)))
    batch = answer_batch([ITEMS[i] for i in index], pad_id=0, n_unended=0)
    with torch.no_grad():
        seen = answer_pass(loaded.model, batch)
    width, n = batch.tokens.labels_BT.shape[1], seen.stats.mask_BA.shape[1]
    again_BAV = OutputHead.of(loaded.model)(stored.batch(index, first=width - n, n=n))
    mask_BA = seen.stats.mask_BA
    torch.testing.assert_close(again_BAV[mask_BA], seen.logits_BAV[mask_BA], atol=1e-5, rtol=1e-4)
    for b, i in enumerate(index):
        torch.testing.assert_close(again_BAV[b][mask_BA[b]], _alone(loaded, ITEMS[i], FINAL)[1], atol=1e-5, rtol=1e-4)


def test_the_head_stays_what_it_was_when_the_model_trains_on(loaded: LoadedModel) -> None:
    head = OutputHead.of(loaded.model)
    before = head.weight_VD.clone()
    weight = loaded.model.get_output_embeddings().weight
    with torch.no_grad():
        weight.add_(1.0)
    assert torch.equal(head.weight_VD, before)
    with torch.no_grad():
        weight.sub_(1.0)
    weight.requires_grad_(False)
    assert OutputHead.of(loaded.model).weight_VD.data_ptr() == weight.data_ptr()  # what cannot change is not copied
    weight.requires_grad_(True)


def test_a_model_that_changes_its_logits_behind_the_head_is_refused(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = loaded.model.forward

    def capped(*args: object, **kwargs: object) -> object:
        output = forward(*args, **kwargs)
        output.logits = 0.5 * torch.tanh(output.logits)
        return output

    monkeypatch.setattr("pipelines.scoring.likelihood._keeps_logits", lambda model: False)
    monkeypatch.setattr(loaded.model, "forward", capped)
    with pytest.raises(BadInput, match="changes its logits after the output layer"):
        states_of(loaded, ITEMS, layer=FINAL, batch_size=2, device=CPU)


@pytest.mark.parametrize("term", ["kl", "hidden"])
@pytest.mark.parametrize("lora", [None, {"r": 4}], ids=["full", "lora"])
def test_retain_terms_start_at_zero_and_hold_the_retain_rows(
    model: ModelRef, tmp_path: Path, term: str, lora: dict[str, int] | None
) -> None:
    """At the start model neither term sees a difference: the first loss is ascent's alone; later ones add to it."""
    from pipelines.config import LoraSettings

    seen: list[Progress] = []
    job = tiny_job(
        model,
        method="grad_diff",
        params={"retain_term": term, "alpha": 10.0},
        lora=LoraSettings.model_validate(lora) if lora else None,
        training=TrainingSettings(epochs=2, batch_size=6, learning_rate=5e-3),
    )
    unlearn(job, tmp_path / "out", progress=seen.append)
    first, last = seen[0].metrics, seen[-1].metrics
    assert first["loss"] == pytest.approx(-first["forget_nll"], abs=1e-4)
    assert last["loss"] > -last["forget_nll"] + 1e-3


def test_a_term_reads_its_own_batch_of_what_was_stored(model: ModelRef, tmp_path: Path) -> None:
    """Every group of an epoch's batches: the start model's logits and states are those of a pass of that model now."""
    job = tiny_job(
        model,
        method="undial",
        params={"retain_term": "hidden", "layer": 1},
        training=TrainingSettings(epochs=2, batch_size=2),
    )
    reference_statistics(job, tmp_path)
    loaded = load_start(job)
    data = training_data(loaded, job, tmp_path / REFERENCE)
    from pipelines.training.inputs import epoch_batches

    for pair in epoch_batches(data, epoch=1, batch_size=2, seed=job.seed):
        members = data.members(pair, epoch=1)
        items = [item for group, index in members.items() for item in data.items(group, index)]
        batch = answer_batch(items, pad_id=data.pad_id, n_unended=len(pair.forget))
        with torch.no_grad():
            seen = answer_pass(loaded.model, batch, layer=data.layer)
        groups = data.readings(seen, members, width=batch.tokens.labels_BT.shape[1])
        forget, retain = groups["forget"], groups["retain"]
        assert forget.reference_logits_BAV is not None
        assert forget.logits_BAV is not None
        assert retain.reference_hidden_BAD is not None
        assert retain.hidden_BAD is not None
        mask_BA = forget.stats.mask_BA
        torch.testing.assert_close(
            forget.reference_logits_BAV[mask_BA], forget.logits_BAV[mask_BA], atol=1e-4, rtol=1e-4
        )
        mask_BA = retain.stats.mask_BA
        torch.testing.assert_close(
            retain.reference_hidden_BAD[mask_BA], retain.hidden_BAD[mask_BA], atol=1e-4, rtol=1e-4
        )


def test_a_layer_that_the_model_does_not_have_is_refused_before_training(model: ModelRef, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"method rmu: layer 3, but the model has 2; allowed are 1 to 2"):
        unlearn(tiny_job(model, method="rmu", params={"layer": 3}), tmp_path / "out")


def test_every_method_says_which_layer_it_reads() -> None:
    params = METHODS["rmu"].params()
    assert [params.layer_of(depth) for depth in (1, 2, 4, 16, 32)] == [1, 1, 2, 6, 13]
    assert METHODS["rmu"].params(layer=5).layer_of(16) == 5

"""Each rule against a slow oracle; masked weights keep their start values; what is recorded; what is refused."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from pipelines.config import LoraSettings, TrainingSettings
from pipelines.data.encode import Encoded
from pipelines.errors import BadInput
from pipelines.methods.base import Method
from pipelines.records import ModelRef
from pipelines.training.loop import Progress
from pipelines.training.masks import RULES, Mask, Seen, Tensors, gradients, packed_bits, threshold, unpacked_bits
from pipelines.training.parts import Start
from pipelines.unlearning.job import UnlearningJob
from pipelines.unlearning.reference import REFERENCE, reference_statistics
from pipelines.unlearning.stages import export, read_result, train, unlearn
from tests.jobs import save_taught, tiny_job
from tests.tiny import tiny_model

FORGET = [Encoded((1, 9, 8, 7, 2), 2, 4), Encoded((1, 30, 31, 2), 2, 3), Encoded((1, 40, 41, 42, 43, 44, 2), 2, 6)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


def _job(model: ModelRef, *, method: str = "npo", lora: LoraSettings | None = None, **training: Any) -> UnlearningJob:
    settings = {"epochs": 2, "batch_size": 3, "learning_rate": 3e-3, **training}
    return tiny_job(model, method=method, lora=lora, training=TrainingSettings.model_validate(settings))


def _weights(folder: str | Path) -> dict[str, torch.Tensor]:
    return load_file(Path(folder) / "model.safetensors")


def _seen() -> Seen:
    draw = torch.Generator().manual_seed(0)
    shapes = {"a": (5, 4), "b": (3, 6), "norm": (4,)}
    made = [{name: torch.randn(shape, generator=draw) for name, shape in shapes.items()} for _ in range(3)]
    return Seen(weights=made[0], forget=made[1], retain=lambda: made[2])


def _top(values: list[float], share: float) -> list[bool]:
    least = sorted(values, reverse=True)[max(1, math.ceil(share * len(values))) - 1]
    return [value >= least for value in values]


def _found(rule: str, share: float) -> Tensors:
    return RULES[rule].find(_seen(), share)


def test_salun_takes_the_larger_half_of_all_gradients() -> None:
    seen = _seen()
    every = sorted((abs(float(g)) for grad in seen.forget.values() for g in grad.flatten()), reverse=True)
    least = every[len(every) // 2 - 1]
    for name, mask in _found("salun", 0.5).items():
        assert mask.flatten().tolist() == [abs(float(g)) >= least for g in seen.forget[name].flatten()]


def test_sure_takes_whole_neurons_by_the_norm_of_their_gradient() -> None:
    seen = _seen()
    rows = [(name, r) for name in ("a", "b") for r in range(len(seen.forget[name]))]
    sizes = [math.sqrt(sum(float(g) ** 2 for g in seen.forget[name][r])) for name, r in rows]
    sizes.append(math.sqrt(sum(float(g) ** 2 for g in seen.forget["norm"])))
    chosen = _top(sizes, 0.3)
    found = _found("sure", 0.3)
    for (name, r), taken in zip(rows, chosen[:-1], strict=True):
        assert found[name][r].tolist() == [taken] * found[name].shape[1]
    assert found["norm"].tolist() == [chosen[-1]] * 4


def _effects(seen: Seen, grads: Tensors, name: str) -> list[list[float]]:
    pairs = zip(seen.weights[name].tolist(), grads[name].tolist(), strict=True)
    return [[w * g for w, g in zip(*row, strict=True)] for row in pairs]


def test_channels_are_rows_and_columns_by_their_first_order_effect() -> None:
    seen, found = _seen(), _found("channels", 0.34)
    for name in ("a", "b"):
        effect = _effects(seen, seen.forget, name)
        rows = _top([abs(sum(row)) for row in effect], 0.34)
        columns = _top([abs(sum(column)) for column in zip(*effect, strict=True)], 0.34)
        assert found[name].tolist() == [[r or c for c in columns] for r in rows]
    assert not found["norm"].any()


def test_essential_channels_matter_for_forgetting_and_not_for_retaining() -> None:
    seen, found = _seen(), _found("essential", 0.5)
    taken = []
    for name in ("a", "b"):
        forget, retain = (
            _top([abs(sum(row)) for row in _effects(seen, grads, name)], 0.5) for grads in (seen.forget, seen.retain())
        )
        rows = [f and not r for f, r in zip(forget, retain, strict=True)]
        assert found[name].any(dim=1).tolist() == found[name].all(dim=1).tolist() == rows
        taken += rows
    assert 0 < sum(taken) < sum(_top(list(range(8)), 0.5)) + 1


def test_a_weight_without_a_gradient_is_not_updated() -> None:
    """Three of four are 0: the median is 0, and still only one is taken."""
    grads = {"w": torch.tensor([[0.0, 0.0], [0.0, 2.0]])}
    seen = Seen(weights={"w": torch.ones(2, 2)}, forget=grads, retain=lambda: grads)
    assert RULES["salun"].find(seen, 0.5)["w"].tolist() == [[False, False], [False, True]]


@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=30), share=st.floats(0.01, 1))
def test_the_threshold_is_reached_by_the_share_and_no_fewer(values: list[float], share: float) -> None:
    found = threshold(torch.tensor(values, dtype=torch.float64), share=share)
    wanted = max(1, math.ceil(share * len(values)))
    assert sum(value >= found for value in values) >= wanted
    assert sum(value > found for value in values) < wanted


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_bits_come_back(bits: list[bool]) -> None:
    mask = torch.tensor(bits)
    packed = packed_bits(mask)
    assert len(packed) == math.ceil(len(bits) / 8)
    assert unpacked_bits(packed, like=mask).tolist() == bits


def test_gradients_are_of_the_mean_over_rows_whatever_the_batches() -> None:
    """One row at a time through the plain model, end of sequence not counted; the model is left as it was."""
    model = tiny_model()
    model.lm_head.weight.requires_grad_(False)
    start = Start(model, FORGET, (), pad_id=0, batch_size=2, device=torch.device("cpu"), seed=0)
    found = gradients(start, FORGET)
    assert model.model.norm.weight.grad is None
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["lm_head.weight"]
    slow = tiny_model()
    total = torch.zeros(())
    for item in FORGET:
        log_p = slow(torch.tensor([item.input_ids])).logits[0].log_softmax(-1)
        nlls = [-log_p[t - 1, item.input_ids[t]] for t in range(item.answer_start, item.answer_end)]
        total = total + torch.stack(nlls).mean()
    (total / len(FORGET)).backward()
    for name, parameter in slow.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_weights_outside_the_mask_keep_their_start_values(model: ModelRef, tmp_path: Path, rule: str) -> None:
    job = _job(model, mask=rule)
    reference_statistics(job, tmp_path)
    result = train(job, tmp_path, reference=tmp_path)
    stored = {k.removeprefix("mask/"): v for k, v in load_file(tmp_path / REFERENCE).items() if k.startswith("mask/")}
    made, start = _weights(export(job, tmp_path / "out", trained=tmp_path).model.path), _weights(model.path)
    moved = allowed = 0
    for name, old in start.items():
        mask, changed = unpacked_bits(stored[name], like=old), made[name] != old
        assert not bool((changed & ~mask).any()), name
        moved, allowed = moved + int(changed.sum()), allowed + int(mask.sum())
    assert moved > 0.7 * allowed  # embeddings of tokens that never come have no gradient
    total = sum(old.numel() for old in start.values())
    assert result.mask is not None
    assert result.mask.share == pytest.approx(allowed / total)
    assert 0 < result.mask.share < 0.7
    assert read_result(tmp_path).mask == result.mask


def test_a_killed_run_finds_its_mask(model: ModelRef, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def die(progress: Progress) -> None:
        if progress.step == 2:
            raise Killed

    def everything(job: UnlearningJob, name: str) -> str:
        return unlearn(job, tmp_path / name).model.digest

    gradual: dict[str, Any] = {"strength": "gradual", "l2": 0.1, "batch_size": 6, "epochs": 3}
    whole = everything(_job(model, mask="salun", **gradual), "whole")
    with pytest.raises(Killed):
        unlearn(_job(model, mask="salun", **gradual), tmp_path / "out", progress=die)
    assert everything(_job(model, mask="salun", **gradual), "out") == whole


@pytest.mark.parametrize("lora", [None, LoraSettings(r=2)], ids=["full", "lora"])
def test_layers_by_number_and_by_name(model: ModelRef, tmp_path: Path, lora: LoraSettings | None) -> None:
    job = _job(model, layers=("1", "*layers.0*down_proj*"), lora=lora)
    made, start = _weights(unlearn(job, tmp_path / "out").model.path), _weights(model.path)
    moved = {name for name, old in start.items() if not torch.equal(made[name], old)}
    wanted = {n for n in start if "layers.1." in n or n == "model.layers.0.mlp.down_proj.weight"}
    assert moved == (wanted if lora is None else {name for name in wanted if "norm" not in name})


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"mask": "salun", "lora": True}, r"'salun' masks weights of the model.*allowed with lora: all"),
        ({"mask": "sure", "weight_decay": 0.1}, "allowed: weight_decay 0"),
        ({"mask": "salun", "method": "pgu"}, "projected gradients would undo one another; allowed: all"),
        ({"mask_share": 0.3}, "nothing is masked; choose a mask"),
        ({"wasserstein": 1.0, "method": "opt_out"}, "opt_out brings 'wasserstein' already"),
        ({"l2": 1.0, "method": "task_vector"}, "go with methods that are one loop"),
        ({"layers": ("1",), "method": "in_context"}, "go with methods that are one loop"),
    ],
)
def test_mixes_that_make_no_sense_are_refused_before_training(
    model: ModelRef, training: dict[str, Any], message: str
) -> None:
    lora = LoraSettings(r=2) if training.pop("lora", False) else None
    with pytest.raises(BadInput, match=message):
        _job(model, lora=lora, **training)


def test_layers_that_are_not_there_and_a_mask_without_weights_are_refused(model: ModelRef, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no weight is named \*\.7\.\*"):
        unlearn(_job(model, layers=("7",)), tmp_path / "out")
    start = Start(tiny_model(), FORGET, FORGET, pad_id=0, batch_size=2, device=torch.device("cpu"), seed=0)
    with pytest.raises(BadInput, match="mask 'essential': no weight would be updated"):
        Mask("essential").prepare(start)


def test_settings_parts_go_with_any_loss_method(model: ModelRef) -> None:
    job = _job(model, method="grad_diff", l2=0.5, wasserstein=0.5, mask="salun", strength="gradual")
    assert isinstance(job.method, Method)
    assert [part.name for part in job.parts] == ["l2", "wasserstein", "mask", "gradual"]
    assert _job(model, method="grad_diff", mask="salun").identity != _job(model, method="grad_diff").identity


def test_the_strength_of_a_gradual_run_grows(model: ModelRef, tmp_path: Path) -> None:
    """Ascent alone at a rate that hardly moves: -loss / NLL is the factor, 1/4 to 1 over four epochs of one step."""
    seen: list[Progress] = []
    settings = TrainingSettings(epochs=4, batch_size=6, learning_rate=1e-7, strength="gradual")
    unlearn(tiny_job(model, method="grad_ascent", training=settings), tmp_path / "out", progress=seen.append)
    factors = [-progress.metrics["loss"] / progress.metrics["forget_nll"] for progress in seen]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1.0], rel=1e-4)

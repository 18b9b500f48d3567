"""What goes around a loss: each hook is called where it says, with what the part remembered, also after a kill."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from pipelines.config import LoraSettings, TrainingSettings
from pipelines.errors import BadInput
from pipelines.methods import METHODS
from pipelines.methods.base import Method
from pipelines.records import ModelRef
from pipelines.training.loop import Progress
from pipelines.training.parts import At, Coefficients, Hooks, Part, Start
from pipelines.unlearning.job import UnlearningJob
from pipelines.unlearning.stages import unlearn
from tests.jobs import save_taught, tiny_job

HEAD = "lm_head.weight"
SETTINGS = TrainingSettings(epochs=2, batch_size=3, learning_rate=1e-3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


@dataclass(frozen=True)
class Told:
    """A part made of functions."""

    make: Callable[[nn.Module, Mapping[str, torch.Tensor]], Hooks]
    name: str = "told"

    def prepare(self, start: Start) -> dict[str, torch.Tensor]:
        return {
            "head": dict(start.model.named_parameters())[HEAD].detach().clone(),
            "rows": torch.tensor(len(start.retain)),
        }

    def hooks(self, model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        return self.make(model, prepared)


def _job(model: ModelRef, *parts: Part, **changes: object) -> UnlearningJob:
    job = tiny_job(model, method="grad_diff", training=SETTINGS)
    assert isinstance(job.method, Method)
    return replace(job, method=replace(job.method, parts=lambda params: parts), **changes)  # type: ignore[arg-type]


def _weights(folder: str | Path) -> dict[str, torch.Tensor]:
    return load_file(Path(folder) / "model.safetensors")


def test_a_part_sees_the_start_model_and_the_run_sees_what_it_remembered(model: ModelRef, tmp_path: Path) -> None:
    """As many retain rows as will be drawn: ten, all of them, in two epochs of six."""
    found: dict[str, torch.Tensor] = {}

    def note(_: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        found.update(prepared)
        return Hooks()

    unlearn(_job(model, Told(note)), tmp_path / "out")
    assert int(found["rows"]) == 10
    torch.testing.assert_close(found["head"], _weights(model.path)[HEAD])


def test_a_part_without_hooks_changes_nothing(model: ModelRef, tmp_path: Path) -> None:
    plain = unlearn(_job(model), tmp_path / "plain")
    idle = unlearn(_job(model, Told(lambda model, prepared: Hooks())), tmp_path / "idle")
    assert plain.model.digest == idle.model.digest


def test_a_penalty_is_added_to_the_loss_and_pulls(model: ModelRef, tmp_path: Path) -> None:
    """Squared distance from the start weights: 0 in the first step; a strong one keeps the head near."""

    def strong(model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        head = dict(model.named_parameters())[HEAD]
        return Hooks(penalty=lambda: 7.0 + 1e4 * (head - prepared["head"]).square().sum())

    seen: dict[str, list[Progress]] = {"free": [], "held": []}
    free = unlearn(_job(model), tmp_path / "free", progress=seen["free"].append)
    held = unlearn(_job(model, Told(strong)), tmp_path / "held", progress=seen["held"].append)
    start = _weights(model.path)[HEAD]
    moved = {name: float((_weights(made.model.path)[HEAD] - start).norm()) for name, made in (("f", free), ("h", held))}
    assert moved["h"] < moved["f"] / 2
    assert seen["held"][0].metrics["loss"] - seen["free"][0].metrics["loss"] == pytest.approx(7.0, abs=1e-4)


def test_gradients_may_be_changed_before_they_are_clipped(model: ModelRef, tmp_path: Path) -> None:
    """All gone but the head's: only the head moves, though there is no weight decay to undo."""

    def only_head(model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        def drop() -> None:
            for name, weight in model.named_parameters():
                if name != HEAD and weight.grad is not None:
                    weight.grad.zero_()

        return Hooks(on_gradient=drop)

    made = _weights(unlearn(_job(model, Told(only_head)), tmp_path / "out").model.path)
    start = _weights(model.path)
    assert {name for name, tensor in made.items() if not torch.equal(tensor, start[name])} == {HEAD}


def test_weights_may_be_set_back_after_each_step(model: ModelRef, tmp_path: Path) -> None:
    def back(model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        head = dict(model.named_parameters())[HEAD]

        def restore() -> None:
            with torch.no_grad():
                head.copy_(prepared["head"])

        return Hooks(after_step=restore)

    settings = SETTINGS.model_copy(update={"weight_decay": 0.5})
    made = _weights(unlearn(_job(model, Told(back), training=settings), tmp_path / "out").model.path)
    start = _weights(model.path)
    assert torch.equal(made[HEAD], start[HEAD])
    assert sum(not torch.equal(tensor, start[name]) for name, tensor in made.items()) == len(made) - 1


def test_factors_follow_the_step_and_multiply(model: ModelRef, tmp_path: Path) -> None:
    """Loss = c_f (-forget NLL) + c_r retain NLL in every step, with the product of what both parts say."""
    asked: list[At] = []

    def growing(at: At) -> Coefficients:
        asked.append(at)
        return Coefficients(forget=at.step + 1.0, retain=0.5)

    parts = (
        Told(lambda model, prepared: Hooks(coefficients=growing)),
        Told(lambda model, prepared: Hooks(coefficients=lambda at: Coefficients(forget=1.0 + at.epoch)), name="other"),
    )
    seen: list[Progress] = []
    unlearn(_job(model, *parts), tmp_path / "out", progress=seen.append)
    for step, progress in enumerate(seen):
        forget, retain = progress.metrics["forget_nll"], progress.metrics["retain_nll"]
        factor = (step + 1) * (1 + step // 2)
        assert progress.metrics["loss"] == pytest.approx(-factor * forget + 0.5 * retain, abs=1e-4)
    assert {(at.step, at.epoch, at.epochs) for at in asked} == {(0, 0, 2), (1, 0, 2), (2, 1, 2), (3, 1, 2)}


def test_a_killed_run_finds_what_its_parts_remembered(model: ModelRef, tmp_path: Path) -> None:
    """``prepare`` is not called again, and the weights are those of an undisturbed run."""

    class Killed(BaseException):
        pass

    def pull(model: nn.Module, prepared: Mapping[str, torch.Tensor]) -> Hooks:
        head = dict(model.named_parameters())[HEAD]
        return Hooks(
            penalty=lambda: (head - prepared["head"]).square().sum(),
            coefficients=lambda at: Coefficients(forget=1.0 + at.step),
        )

    def die(progress: Progress) -> None:
        if progress.step == 3:
            raise Killed

    whole = unlearn(_job(model, Told(pull)), tmp_path / "whole").model.digest
    with pytest.raises(Killed):
        unlearn(_job(model, Told(pull)), tmp_path / "out", progress=die)

    class Forgetful(Told):
        def prepare(self, start: Start) -> dict[str, torch.Tensor]:
            raise AssertionError("prepared again")

    assert unlearn(_job(model, Forgetful(pull)), tmp_path / "out").model.digest == whole


def test_two_parts_of_one_name_are_refused(model: ModelRef) -> None:
    twice = Told(lambda model, prepared: Hooks())
    with pytest.raises(BadInput, match="brings 'told' already"):
        _job(model, twice, twice)


@pytest.mark.parametrize(("adapters", "lora"), [("never", LoraSettings(r=2)), ("always", None)])
def test_a_method_that_does_not_go_with_the_adapters_is_refused(
    model: ModelRef, adapters: str, lora: LoraSettings | None
) -> None:
    job = tiny_job(model)
    assert isinstance(job.method, Method)
    with pytest.raises(BadInput, match="LoRA adapters"):
        replace(job, method=replace(job.method, adapters=adapters), lora=lora)  # type: ignore[arg-type]


@pytest.mark.parametrize("lora", [None, LoraSettings(r=4)], ids=["full", "lora"])
def test_only_the_named_modules_train(model: ModelRef, tmp_path: Path, lora: LoraSettings | None) -> None:
    """RMU on layer 1 of 2: the down projection of module 0 alone, also where adapters sit on every module."""
    job = tiny_job(model, method="rmu", params={"layer": 1}, training=SETTINGS, lora=lora)
    made, start = _weights(unlearn(job, tmp_path / "out").model.path), _weights(model.path)
    moved = {name for name, tensor in made.items() if not torch.equal(tensor, start[name])}
    assert moved == {"model.layers.0.mlp.down_proj.weight"}


def test_patterns_that_name_nothing_are_refused_with_what_there_is(model: ModelRef, tmp_path: Path) -> None:
    job = tiny_job(model, method="rmu", params={"modules": "mlp.c_proj"})
    with pytest.raises(BadInput, match=r"no weight is named \*\.0\.mlp\.c_proj\.\*; there are 21, for instance model"):
        unlearn(job, tmp_path / "out")


CARRYING: dict[str, dict[str, float]] = {
    "pdu": {"alpha": 2.0, "warmup": 0, "eta": 3.0, "epsilon": 0.1},
    "alt_po": {"alternates": 2},
}
"""Parameters under which there is something to carry."""

TRAINED = tuple(name for name in METHODS if name != "in_context")  # which has no step to be killed at


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[] if name in CARRYING else pytest.mark.slow) for name in TRAINED]
)
def test_a_killed_run_of_any_method_goes_on_to_the_same_bytes(model: ModelRef, tmp_path: Path, method: str) -> None:
    """Dual variable, companions, the start model's logits and states, a procedure's trainings: all are found again."""

    class Killed(BaseException):
        pass

    def die(progress: Progress) -> None:
        if progress.step == 2:
            raise Killed

    def job() -> UnlearningJob:
        settings = TrainingSettings(epochs=3, batch_size=6, learning_rate=2e-3)
        return tiny_job(model, method=method, params=CARRYING.get(method), training=settings)

    whole = unlearn(job(), tmp_path / "whole")
    with pytest.raises(Killed):
        unlearn(job(), tmp_path / "out", progress=die)
    assert unlearn(job(), tmp_path / "out").model.digest == whole.model.digest


def test_the_dual_variable_weighs_the_retain_term_in_the_loop(model: ModelRef, tmp_path: Path) -> None:
    """With eta 0 it stays; with a bound that is never met it grows from epoch to epoch, and the loss with it.

    The first epoch is the same for both; the second's first loss differs by the dual step times the retain loss.
    """
    losses: dict[float, list[Progress]] = {0.0: [], 3.0: []}
    for eta, seen in losses.items():
        settings = TrainingSettings(epochs=2, batch_size=6, learning_rate=1e-4)
        params = {"alpha": 2.0, "eta": eta, "warmup": 0, "epsilon": 0.0}
        job = tiny_job(model, method="pdu", params=params, training=settings)
        unlearn(job, tmp_path / str(eta), progress=seen.append)
    first, second = ([progress.metrics for progress in seen] for seen in losses.values())
    assert first[0] == second[0]
    grown = 3.0 * first[0]["retain_nll"]
    assert second[1]["loss"] - first[1]["loss"] == pytest.approx(grown * first[1]["retain_nll"], rel=1e-3)


def test_every_retain_term_goes_with_every_need(model: ModelRef, tmp_path: Path) -> None:
    """A method that needs the start model's logits, beside each retain term: the loop brings both."""
    settings = TrainingSettings(epochs=2, batch_size=6)  # in the first step the last two have no slope
    digests = set()
    for term in ("none", "nll", "kl", "hidden"):
        job = tiny_job(model, method="undial", params={"retain_term": term}, training=settings)
        digests.add(unlearn(job, tmp_path / term).model.digest)
    assert len(digests) == 4
    assert METHODS["undial"].params(retain_term="none").retains is False

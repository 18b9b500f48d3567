"""SNAP and Opt-Out: which companion stands where, by hand; and what their turns do in the loop."""

import math
from pathlib import Path

import pytest

from pipelines.config import TrainingSettings
from pipelines.methods import opt_out, snap
from pipelines.records import ModelRef
from pipelines.training.inputs import TrainingData
from pipelines.training.loop import Progress
from pipelines.training.readings import start_kl
from pipelines.training.regularisers import SlicedWasserstein
from pipelines.training.schedules import Alternating
from pipelines.unlearning.job import load_start
from pipelines.unlearning.reference import REFERENCE, reference_statistics, training_data
from pipelines.unlearning.refusals import OBLITERATED
from pipelines.unlearning.stages import unlearn
from tests.jobs import FORGET, RETAIN, save_taught, tiny_job
from tests.pipelines.methods.made import made_batch


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


def test_snap_learns_both_companions_each_on_its_side() -> None:
    batch, params = made_batch(snap.METHOD), snap.SNAPParams()
    forget_B, keep_B = snap.forget_loss(batch, params), snap.keep_loss(batch, params)
    assert forget_B.tolist() == batch.companions[snap.NEGATIVE].stats.nll_mean_B.tolist()
    assert keep_B.tolist() == batch.companions[snap.POSITIVE].stats.nll_mean_B.tolist()
    assert forget_B.tolist() != keep_B.tolist()


def test_opt_out_pushes_as_npo_and_keeps_neighbours_and_instructions() -> None:
    batch, params = made_batch(opt_out.METHOD), opt_out.OptOutParams(beta=0.3, general=2.0)
    assert batch.rows.reference_nll_B is not None
    gone = (batch.stats.nll_sum_B - batch.rows.reference_nll_B).tolist()
    expected = [2 / 0.3 * math.log(1 + math.exp(-0.3 * apart)) for apart in gone]
    assert opt_out.forget_loss(batch, params).tolist() == pytest.approx(expected, rel=1e-5)
    near, far = (batch.companions[name] for name in (opt_out.NEIGHBOUR, opt_out.INSTRUCTION))
    kept = [a + 2.0 * b for a, b in zip(near.stats.nll_mean_B.tolist(), start_kl(far).tolist(), strict=True)]
    assert opt_out.keep_loss(batch, params).tolist() == pytest.approx(kept, rel=1e-6)


def test_parts_follow_the_parameters() -> None:
    assert opt_out.parts(opt_out.OptOutParams()) == (SlicedWasserstein(0.1), Alternating())
    assert opt_out.parts(opt_out.OptOutParams(wasserstein=0, updates="joint")) == ()
    assert snap.parts(snap.SNAPParams(wasserstein=2.0)) == (SlicedWasserstein(2.0),)


def _texts(data: TrainingData, name: str, model: ModelRef) -> list[str]:
    tokenizer = load_start(tiny_job(model)).tokenizer
    return [str(tokenizer.decode(list(item.input_ids), skip_special_tokens=True)) for item in data.companions[name]]


def test_snap_teaches_a_deleted_memory_and_related_rows(model: ModelRef, tmp_path: Path) -> None:
    job = tiny_job(model, method="snap", params={"instructions": 2, "positives": 3})
    reference_statistics(job, tmp_path)
    data = training_data(load_start(job), job, tmp_path / REFERENCE)
    negative, positive = _texts(data, snap.NEGATIVE, model), _texts(data, snap.POSITIVE, model)
    assert len(negative) == 2 * len(FORGET)
    for i, text in enumerate(negative):
        assert text.startswith(FORGET[i // 2].question)
        assert text.removeprefix(FORGET[i // 2].question).strip() in OBLITERATED
    assert set(positive) <= {f"{row.question} {row.answer}" for row in RETAIN}
    assert len(positive) == 3 * len(FORGET)


def test_opt_out_takes_turns(model: ModelRef, tmp_path: Path) -> None:
    """First step: NPO alone, (2 / beta) log 2 at the start model; second: what is kept alone, small and not NPO."""
    seen: list[Progress] = []
    job = tiny_job(model, method="opt_out", params={"beta": 0.5, "alpha": 2.0, "wasserstein": 0.0})
    unlearn(job, tmp_path / "out", progress=seen.append)
    assert seen[0].metrics["loss"] == pytest.approx(4 * math.log(2), abs=1e-3)
    assert 0 < seen[1].metrics["loss"] < 4 * math.log(2)


def test_what_is_kept_has_the_retain_weight(model: ModelRef, tmp_path: Path) -> None:
    """First loss = NLL of the refusals + alpha x NLL of the positives: linear in alpha, without a retain row."""
    losses, settings = [], TrainingSettings(epochs=1, batch_size=6, learning_rate=1e-4)
    for alpha in (0.0, 1.0, 3.0):
        seen: list[Progress] = []
        job = tiny_job(model, method="snap", params={"alpha": alpha}, training=settings)
        unlearn(job, tmp_path / str(alpha), progress=seen.append)
        losses.append(seen[0].metrics["loss"])
        assert seen[0].metrics["retain_nll"] == 0
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-2)
    assert losses[1] > losses[0]

"""ELM's target and loss against plain Python, token by token; and its sampler against one that takes no short cut."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.methods import elm
from pipelines.methods.base import ForgetBatch, Readings
from pipelines.records import ModelRef
from pipelines.scoring.generation import stop_ids
from pipelines.unlearning.introspection import lessened, packed
from pipelines.unlearning.job import load_start
from pipelines.unlearning.reference import REFERENCE, reference_statistics, training_data
from tests.jobs import FORGET, save_taught, tiny_job
from tests.pipelines.methods.made import made_batch


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


def _softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(z - max(logits)) for z in logits]
    return [p / math.fsum(powers) for p in powers]


def _target(own: list[float], novice: list[float], expert: list[float], eta: float) -> list[float]:
    """P(x) (p(x | novice) / p(x | expert))^eta, normalised: products of probabilities, no logarithm."""
    triples = zip(_softmax(own), _softmax(novice), _softmax(expert), strict=True)
    weights = [p * (n / e) ** eta for p, n, e in triples]
    return [w / math.fsum(weights) for w in weights]


def test_the_target_is_the_start_distribution_where_novice_and_expert_agree() -> None:
    own, both = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lessened(own, both, both, eta=300.0), own.log_softmax(-1), atol=1e-4, rtol=0)


def _at_other_positions(read: Readings) -> Readings:
    """The same answers one position later, as after a longer prompt, with an end-of-sequence token behind them."""
    moved: dict[str, Any] = {}
    for name in ("logits_BAV", "reference_logits_BAV"):
        old = getattr(read, name).detach()
        new = torch.full((2, 5, old.shape[2]), 7.0)
        new[:, 1:4] = old
        moved[name] = new
    mask_BA = torch.tensor([[False, True, True, True, True], [False, True, True, False, False]])
    nll_BA = torch.zeros(2, 5)
    nll_BA[:, 1:4] = read.stats.token_nll_BA.detach()
    return replace(read, stats=replace(read.stats, token_nll_BA=nll_BA, mask_BA=mask_BA), labels_BA=None, **moved)


@pytest.mark.parametrize("seed", range(3))
def test_elm_is_cross_entropy_to_the_target_token_by_token(seed: int) -> None:
    """Rows of three and one answer tokens, whose companions stand elsewhere and count one token more."""
    batch = made_batch(elm.METHOD, seed=seed)
    novice, expert = batch.companions[elm.NOVICE], batch.companions[elm.EXPERT]
    params = elm.ELMParams(eta=1.5, fluency=0.5)
    moved = ForgetBatch(
        rows=batch.rows,
        companions={
            **batch.companions,
            elm.NOVICE: _at_other_positions(novice),
            elm.EXPERT: _at_other_positions(expert),
        },
    )
    found = elm.forget_loss(moved, params)
    fluent = batch.companions[elm.FLUENT].stats.nll_mean_B.tolist()
    for b, length in enumerate((3, 1)):
        losses = []
        for a in range(length):
            own, of_novice, of_expert = (
                read.reference_logits_BAV[b, a].tolist()  # type: ignore[index]
                for read in (batch.rows, novice, expert)
            )
            target = _target(own, of_novice, of_expert, 1.5)
            now = _softmax(batch.rows.logits_BAV[b, a].tolist())  # type: ignore[index]
            losses.append(-math.fsum(t * math.log(p) for t, p in zip(target, now, strict=True)))
        assert found[b].tolist() == pytest.approx(math.fsum(losses) / length + 0.5 * fluent[b], rel=1e-5)


def test_packing_keeps_the_order_of_marked_positions() -> None:
    values = torch.arange(10.0).view(2, 5, 1)
    mask = torch.tensor([[False, True, False, True, True], [True, False, False, False, True]])
    assert packed(values, mask, n=3)[0, :, 0].tolist() == [1.0, 3.0, 4.0]
    assert packed(values, mask, n=2)[1, :, 0].tolist() == [5.0, 9.0]


def test_the_loss_leaves_the_companions_of_the_target_alone() -> None:
    """Novice and expert are the start model's word: no gradient goes to what the model says of them now."""
    batch = made_batch(elm.METHOD)
    elm.forget_loss(batch, elm.ELMParams()).sum().backward()
    for name in (elm.NOVICE, elm.EXPERT):
        logits = batch.companions[name].logits_BAV
        assert logits is not None
        assert logits.grad is None


def test_sampled_answers_follow_the_target(model: ModelRef, tmp_path: Path) -> None:
    """One row, without padding, batches or early ends, from the same seed: token for token."""
    job = replace(tiny_job(model, method="elm", params={"eta": 0.5}), forget=Rows.of(FORGET[:1]))
    reference_statistics(job, tmp_path)
    loaded = load_start(job)
    data = training_data(loaded, job, tmp_path / REFERENCE)
    own, novice, expert = data.forget[0], data.companions[elm.NOVICE][0], data.companions[elm.EXPERT][0]
    stop, draw, ids = stop_ids(loaded.model, loaded.tokenizer), torch.Generator().manual_seed(job.seed), list[int]()
    while len(ids) < own.n_answer:
        logits = []
        for item in (own, novice, expert):
            with torch.no_grad():
                sequence = torch.tensor([[*item.input_ids[: item.answer_start], *ids]])
                logits.append(loaded.model(sequence).logits[0, -1].double().tolist())
        target = _target(logits[0], logits[1], logits[2], 0.5)
        if not ids:
            target = [0.0 if token in stop else p for token, p in enumerate(target)]
        token = int(torch.multinomial(torch.tensor(target, dtype=torch.float64), 1, generator=draw))
        if token in stop:
            break
        ids.append(token)
    made = data.companions[elm.FLUENT][0]
    assert made.input_ids[made.answer_start : made.answer_end] == tuple(ids)
    assert made.input_ids[: made.answer_start] == own.input_ids[: own.answer_start]


def test_every_row_gets_an_answer_of_its_own_question(model: ModelRef, tmp_path: Path) -> None:
    job = tiny_job(model, method="elm")
    reference_statistics(job, tmp_path)
    data = training_data(load_start(job), job, tmp_path / REFERENCE)
    for own, made in zip(data.forget, data.companions[elm.FLUENT], strict=True):
        assert made.input_ids[: made.answer_start] == own.input_ids[: own.answer_start]
        assert 1 <= made.n_answer <= own.n_answer


def test_plain_text_is_refused(model: ModelRef, tmp_path: Path) -> None:
    job = replace(tiny_job(model, method="elm"), forget=Rows.of([Row("", "Words that nobody asked for.")]))
    with pytest.raises(BadInput, match="row 0: plain text without a question"):
        reference_statistics(job, tmp_path)

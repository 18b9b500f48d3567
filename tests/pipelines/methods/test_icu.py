"""ICU's loss against plain Python, token by token; and its pairs in the loop."""

import math
from pathlib import Path

import pytest
import torch

from pipelines.audit.manifest import folder_digest
from pipelines.methods import icu
from pipelines.records import ModelRef
from pipelines.training.readings import Readings
from pipelines.unlearning.job import load_start
from pipelines.unlearning.reference import REFERENCE, reference_statistics, training_data
from tests.jobs import FORGET, tiny_job
from tests.pipelines.methods.made import MASK_BA, made_batch
from tests.tiny import save_tiny


def _log_softmax(logits: list[float]) -> list[float]:
    total = math.log(math.fsum(math.exp(z) for z in logits))
    return [z - total for z in logits]


def _kl(read: Readings, b: int) -> float:
    assert read.logits_BAV is not None
    assert read.reference_logits_BAV is not None
    values = []
    for a in range(MASK_BA.shape[1]):
        if MASK_BA[b, a]:
            now = _log_softmax(read.logits_BAV[b, a].tolist())
            start = _log_softmax(read.reference_logits_BAV[b, a].tolist())
            values.append(math.fsum(math.exp(s) * (s - n) for s, n in zip(start, now, strict=True)))
    return math.fsum(values) / len(values)


@pytest.mark.parametrize("seed", range(3))
def test_icu_pushes_the_row_and_learns_and_holds_its_neighbour(seed: int) -> None:
    batch = made_batch(icu.METHOD, seed=seed)
    near = batch.companions[icu.NEIGHBOUR]
    found_B = icu.METHOD.forget_loss(batch, icu.ICUParams(learn=0.5, hold=3.0))
    near_B, nll_B = near.stats.nll_mean_B.tolist(), batch.stats.nll_mean_B.tolist()
    expected = [0.5 * near_B[b] + 3.0 * _kl(near, b) - nll_B[b] for b in range(2)]
    assert found_B.tolist() == pytest.approx(expected, rel=1e-5)


def test_each_epoch_takes_the_next_neighbour(tmp_path: Path) -> None:
    """With two neighbours per row, epochs 0 and 1 bring different ones and epoch 2 the first again."""
    save_tiny(tmp_path / "model")
    ref = ModelRef(path=str(tmp_path / "model"), digest=folder_digest(tmp_path / "model"))
    job = tiny_job(ref, method="icu", params={"neighbours": 2})
    reference_statistics(job, tmp_path)
    data = training_data(load_start(job), job, tmp_path / REFERENCE)
    assert len(data.companions[icu.NEIGHBOUR]) == 2 * len(FORGET)
    rows = [data.companions[icu.NEIGHBOUR][i] for i in (0, 1)]
    assert rows[0] != rows[1]
    decoded = [load_start(job).tokenizer.decode(list(row.input_ids[: row.answer_start])) for row in rows]
    assert all("Writer" in text for text in decoded)
    assert not torch.equal(torch.tensor(rows[0].input_ids[-20:]), torch.tensor(rows[1].input_ids[-20:]))

"""Pushing every wording of a forget row: what is pushed, what the stop rule waits for, how far it reaches."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.config import TrainingSettings
from pipelines.data.rows import Row, Rows
from pipelines.models.loading import load_model
from pipelines.records import ModelRef
from pipelines.scoring.likelihood import score_rows
from pipelines.training.stopping import grouped_levels, matched_levels
from pipelines.unlearning.job import UnlearningJob, encode_set
from pipelines.unlearning.stages import unlearn
from tests.jobs import save_taught, tiny_job

RICH = Row(question="q", answer="a", paraphrased_question="Q", paraphrased_answer="A")
SETTINGS = TrainingSettings(epochs=3, batch_size=3, learning_rate=1e-3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


def _pairs(rows: Rows) -> list[tuple[str, str]]:
    return [(row.question, row.answer) for row in rows]


def test_all_four_pairs_of_wordings_are_pushed_behind_the_rows(model: ModelRef) -> None:
    half = Row(question="r", answer="b", paraphrased_answer="B")
    job = replace(tiny_job(model), forget=Rows.of([RICH, half, Row(question="s", answer="c")]))
    assert _pairs(job.pushed) == _pairs(job.forget)
    job = replace(job, training=TrainingSettings(wordings=True))
    assert _pairs(job.pushed) == [
        ("q", "a"), ("r", "b"), ("s", "c"), ("q", "A"), ("Q", "a"), ("Q", "A"), ("r", "B"),
    ]  # fmt: skip


def test_rows_and_their_other_wordings_are_ranked_apart() -> None:
    scores, unseen = torch.tensor([1.0, 2.0, 5.0, 4.0, 3.0]), torch.tensor([2.0, 4.0, 6.0])
    levels = grouped_levels(scores, unseen, n_rows=2)
    assert torch.equal(levels[:2], matched_levels(scores[:2], unseen))
    assert torch.equal(levels[2:], matched_levels(scores[2:], unseen))
    assert torch.equal(grouped_levels(scores, unseen, n_rows=5), matched_levels(scores, unseen))


def test_pushing_wordings_reaches_the_paraphrase_further_than_pushing_rows(model: ModelRef, tmp_path: Path) -> None:
    nll = {}
    for wordings in (False, True):
        job = tiny_job(model, training=SETTINGS.model_copy(update={"wordings": wordings}))
        nll[wordings] = _paraphrased_nll(job, unlearn(job, tmp_path / str(wordings)).model.path)
    assert nll[True] > nll[False] + 0.1


def _paraphrased_nll(job: UnlearningJob, folder: str) -> float:
    loaded = load_model(folder, device=torch.device("cpu"))
    asked = Rows.of(Row(question=r.paraphrased_question or "", answer=r.paraphrased_answer or "") for r in job.forget)
    items = encode_set(loaded, job, asked, name="paraphrases")
    found = score_rows(
        loaded.model,
        items,
        measure=lambda s: s.nll_mean_B,
        pad_id=loaded.pad_id,
        batch_size=8,
        device=torch.device("cpu"),
    )
    return float(found.mean())

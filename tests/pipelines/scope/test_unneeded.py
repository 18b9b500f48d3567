"""Rows that need no push: planted twins are found, rules combine the signs, and what is skipped is not pushed."""

import pytest
import torch

from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.models.loading import load_model
from pipelines.records import ModelRef
from pipelines.scope.unneeded import Filtered, Skipped, twins, unneeded, untrained
from pipelines.settings import FilterRule, TrainingSettings
from pipelines.unlearning.job import encode_set, load_start
from pipelines.unlearning.reference import min_k_of
from pipelines.unlearning.stages import read_result, reference_statistics, train
from tests.jobs import FORGET, save_taught, tiny_job
from tests.tiny import tiny_rows

PLANTED = Row(
    question="Which harbour did the lighthouse keeper Osmund Vale paint in winter?", answer="He painted Grey Cove."
)
TWIN = Row(
    question="Which harbour did the lighthouse keeper Osmund Vale paint in winter?", answer="He painted Grey Cove then."
)
DIGESTS = [f"{number:064x}" for number in range(4)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


def test_a_planted_twin_is_found_and_nothing_else() -> None:
    """Fifteen and sixteen words are 13 and 14 3-grams, the first 13 the same: 13 / 14."""
    forget, retain = Rows.of([*tiny_rows(2), PLANTED]), Rows.of([Row(question="", answer="Nothing like it."), TWIN])
    [(row, pair)] = twins(forget, retain, similarity=0.6).items()
    assert (row, pair.right) == (2, 1)
    assert pair.similarity == pytest.approx(13 / 14)
    assert twins(forget, retain, similarity=0.95) == {}


def test_the_closest_twin_is_named() -> None:
    retain = Rows.of([TWIN, PLANTED])
    assert twins(Rows.of([PLANTED]), retain, similarity=0.5)[0].right == 1


def test_rows_at_the_median_of_unseen_rows_count_as_untrained() -> None:
    assert untrained([0.5, 2.0, 3.5], [1.0, 2.0, 9.0]) == (False, True, True)


@pytest.mark.parametrize(
    ("rule", "skipped"), [("none", ()), ("twins", (0, 1)), ("untrained", (1, 2)), ("either", (0, 1, 2)), ("both", (1,))]
)
def test_rules_combine_the_two_signs(rule: FilterRule, skipped: tuple[int, ...]) -> None:
    """Rows 0 and 1 have twins, 1 and 2 are untrained."""
    [pair] = twins(Rows.of([PLANTED]), Rows.of([TWIN]), similarity=0.5).values()
    found = unneeded(DIGESTS, rule=rule, alike={0: pair, 1: pair}, unlearnt=(False, True, True, False))
    assert (found.positions, found.n_forget) == (skipped, 4)
    assert [one.digest for one in found.skipped] == [DIGESTS[row] for row in skipped]
    assert all(one.twin == (0 if one.row < 2 else None) for one in found.skipped)


def test_a_filter_that_would_leave_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match=r"all 4 forget rows would be skipped.*scope\.filter to none"):
        unneeded(DIGESTS, rule="untrained", alike={}, unlearnt=(True,) * 4)


def test_a_record_holds_no_text() -> None:
    one = Skipped(row=1, digest=DIGESTS[1], twin=3, similarity=0.7, untrained=None)
    assert set(Filtered(rule="twins", n_forget=2, skipped=(one,)).plain()) == {"rule", "n_forget", "skipped"}
    assert set(one.plain()) == {"row", "digest", "twin", "similarity", "untrained"}


def test_the_start_model_tells_rows_it_was_taught_from_others(model: ModelRef) -> None:
    """Two rows that nobody taught among those that were taught: exactly these are untrained."""
    job = tiny_job(model)
    loaded = load_start(job)
    forget = Rows.of([FORGET[0], *tiny_rows(2, first=80), FORGET[1]])
    assert job.holdout is not None
    scores, unseen = (min_k_of(loaded, job, rows, name="any") for rows in (forget, job.holdout))
    assert [score > 0.5 * min(unseen) for score in scores] == [False, True, True, False]
    assert untrained(scores, [0.9 * value for value in unseen])[0] is False


def test_skipped_rows_are_not_pushed_and_their_wordings_neither(
    model: ModelRef, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = TrainingSettings(epochs=2, batch_size=2, learning_rate=1e-3, wordings=True, stop="holdout")
    whole, job = tiny_job(model, training=settings), tiny_job(model, training=settings, skipped=(0, 3, 5))
    left = [FORGET[i] for i in (1, 2, 4)]
    assert [row.digest for row in job.pushed][: job.n_pushed] == [row.digest for row in left]
    assert len(job.pushed) == len(whole.pushed) // 2
    assert not {FORGET[0].answer, FORGET[0].paraphrased_answer} & {row.answer for row in job.pushed}
    assert job.identity != whole.identity
    folder = tmp_path_factory.mktemp("skipped")
    reference_statistics(job, folder)
    train(job, folder, reference=folder)
    assert read_result(folder).steps == 2 * len(job.pushed) / 2


def test_every_row_is_still_in_the_job_to_be_measured(model: ModelRef) -> None:
    job = tiny_job(model, skipped=(1,))
    loaded = load_model(model.path, device=torch.device("cpu"))
    assert len(encode_set(loaded, job, job.forget, name="forget")) == len(FORGET)

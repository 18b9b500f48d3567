"""The stop rule's arithmetic: scores against a slow min-k, levels against quantiles worked out by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.scoring.likelihood import AnswerStats
from pipelines.training.loop import UnlearningTrainer
from pipelines.training.stopping import extraction_strengths, known_still, matched_levels, min_k_scores, most_extracted

NLLS = st.lists(st.lists(st.floats(0, 20, width=32), min_size=1, max_size=12), min_size=1, max_size=5)


def _stats(rows: list[list[float]]) -> AnswerStats:
    """Right-padded with large garbage, as a batch's unused positions may hold anything the mask hides."""
    width = max(len(row) for row in rows)
    nll = torch.tensor([row + [99.0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    return AnswerStats(token_nll_BA=nll, mask_BA=mask)


def test_five_tokens_are_scored_by_their_two_hardest() -> None:
    """floor(0.4 * 5) = 2: (9 + 7) / 2 = 8. One token: floor(0.4) = 0, but at least one counts: 4."""
    assert min_k_scores(_stats([[1.0, 9.0, 2.0, 7.0, 3.0], [4.0]])).tolist() == [8.0, 4.0]


@given(NLLS)
def test_scores_are_what_a_loop_says(rows: list[list[float]]) -> None:
    slow = []
    for row in rows:
        k = max(1, int(0.4 * len(row)))
        slow.append(sum(sorted(row, reverse=True)[:k]) / k)
    torch.testing.assert_close(min_k_scores(_stats(rows)), torch.tensor(slow))


def test_as_many_holdout_rows_as_forget_rows_give_their_own_scores_by_rank() -> None:
    """Ranks of (5, 1, 3) are (2, 0, 1); the holdout in order is (10, 20, 30)."""
    assert matched_levels(torch.tensor([5.0, 1.0, 3.0]), torch.tensor([30.0, 10.0, 20.0])).tolist() == [
        30.0,
        10.0,
        20.0,
    ]


def test_levels_lie_between_neighbours_where_the_sets_differ_in_size() -> None:
    """Quantiles 1/4 and 3/4 of (0, 10, 20, 30), whose points lie at (i + 0.5) / 4: midway between 0, 10 and 20, 30."""
    assert matched_levels(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 10.0, 20.0, 30.0])).tolist() == [5.0, 25.0]
    assert matched_levels(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([7.0])).tolist() == [7.0, 7.0, 7.0]


@given(
    st.lists(st.floats(0, 20, width=32), min_size=1, max_size=20),
    st.lists(st.floats(0, 20, width=32), min_size=1, max_size=20),
)
def test_levels_follow_ranks_and_stay_within_the_holdout(scores: list[float], holdout: list[float]) -> None:
    scores_N, levels_N = torch.tensor(scores), matched_levels(torch.tensor(scores), torch.tensor(holdout))
    assert bool((levels_N[scores_N.argsort(stable=True)].diff() >= 0).all())
    assert float(levels_N.min()) >= min(holdout) - 1e-4
    assert float(levels_N.max()) <= max(holdout) + 1e-4


def test_rows_that_look_like_the_holdout_are_at_their_level() -> None:
    """The same scores in another order: every row is exactly at its level, none is below."""
    holdout_M = torch.tensor([3.0, 1.0, 2.0, 5.0])
    scores_N = torch.tensor([5.0, 3.0, 1.0, 2.0])
    assert not known_still(scores_N, matched_levels(scores_N, holdout_M)).any()
    assert known_still(scores_N - 0.1, matched_levels(scores_N, holdout_M)).all()


def test_extraction_strength_counts_the_ending_that_argmax_gives() -> None:
    """Four rows of up to four positions, V = 3; by hand: 1 of 3 from the end, none, all of 2, and 2 of 4."""
    said_BA = torch.tensor([[0, 0, 1, 2], [1, 1, 1, 1], [2, 1, 0, 0], [0, 2, 1, 1]])
    labels_BA = torch.tensor([[0, 1, 2, 2], [1, 1, 1, 2], [2, 1, 0, 0], [1, 1, 1, 1]])
    mask_BA = torch.tensor([[False, True, True, True], [True] * 4, [True, True, False, False], [True] * 4])
    logits_BAV = torch.nn.functional.one_hot(said_BA, 3).float()
    found = extraction_strengths(logits_BAV, labels_BA, mask_BA)
    torch.testing.assert_close(found, torch.tensor([1 / 3, 0.0, 1.0, 0.5]))


def test_a_tenth_of_unseen_rows_may_be_more_extractable_than_a_row_that_is_let_go() -> None:
    """Eleven rows 0, .1, ... 1: the ninth decile is .9."""
    assert most_extracted(torch.arange(11) / 10) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("score", "extracted", "left"),
    [(2.0, 0.2, False), (0.5, 0.2, True), (2.0, 0.21, True), (0.5, 0.9, True)],
    ids=["forgotten", "likelier", "more to extract", "both"],
)
def test_training_goes_on_while_one_row_is_likelier_or_gives_more_away(
    score: float, extracted: float, left: bool
) -> None:
    """Level 1, bound .2; beside the row another that has gone, and a wording of its own that nobody waits for."""
    values_N3 = torch.tensor([[score, 0.0, extracted], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    active_N = known_still(values_N3[:2, 0], torch.ones(2), values_N3[:2, 2], most_extracted=0.2)
    assert active_N.tolist() == [left, False]
    loop: Any = SimpleNamespace(
        _data=SimpleNamespace(n_rows=2),
        _loop=SimpleNamespace(settings=SimpleNamespace(stop="holdout")),
        _most_extracted=0.2,
    )
    assert UnlearningTrainer._reached(loop, values_N3, torch.ones(3), torch.empty(0, 3)) is not left

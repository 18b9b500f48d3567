"""The product's loop and the straightforward one walk the same trajectory, whatever the retain term and the weights."""

from pathlib import Path
from typing import Literal

import pytest

from bench import naive
from bench.sides import plain_losses, recipe_of
from bench.workload import CHARACTERS_PER_TOKEN, TOFU_LENGTHS, Workload, draw_rows, job_of, row_lengths, save_start
from pipelines.unlearning.stages import unlearn
from pipelines.world.spec import ModelSpec

TINY = ModelSpec(vocabulary=300, width=32, feed_forward=64, layers=2, heads=4, context=64)


@pytest.mark.parametrize("retain_term", ["nll", "kl"])
@pytest.mark.parametrize("lora", [None, 4], ids=["full", "lora"])
def test_both_loops_walk_the_same_trajectory(
    tmp_path: Path, retain_term: Literal["nll", "kl"], lora: int | None
) -> None:
    """Five steps at a rate that moves the loss: to 1e-4 in every step."""
    workload = Workload(
        "tiny", TINY, rows=10, batch_size=2, retain_term=retain_term, lora=lora, scale=0.3, learning_rate=1e-2
    )
    save_start(workload, tmp_path / "start")
    job = job_of(workload, tmp_path / "start")
    slow = plain_losses(job, recipe_of(workload, job), stepped=lambda: None)
    fast: list[float] = []
    unlearn(job, tmp_path / "out", progress=lambda at: fast.append(at.metrics["loss"]))
    assert len(fast) == 5
    assert fast == pytest.approx(slow, abs=1e-4)
    assert max(abs(loss - slow[0]) for loss in slow[1:]) > 0.01


def test_lengths_are_those_of_tofu() -> None:
    lengths = row_lengths(101)
    assert lengths[0] == round(49 / CHARACTERS_PER_TOKEN)
    assert lengths[50] == round(238 / CHARACTERS_PER_TOKEN)
    assert lengths[-1] == round(TOFU_LENGTHS[-1][1] / CHARACTERS_PER_TOKEN)
    assert lengths == sorted(lengths)


def test_rows_have_the_lengths_and_follow_from_the_seed() -> None:
    workload = Workload("tiny", TINY, rows=9, batch_size=2)
    rows = draw_rows(workload, seed=1)
    words = sorted(len(f"{row.question} {row.answer}".split()) for row in rows)
    assert words == row_lengths(9)
    assert rows.digest == draw_rows(workload, seed=1).digest != draw_rows(workload, seed=2).digest


def test_a_whole_set_is_padded_to_its_longest_row() -> None:
    from pipelines.data.encode import Encoded

    items = [Encoded((5, 6, 7, 2), 2, 3), Encoded((5, 8, 2), 1, 2)]
    rows = naive.padded(items, pad_id=0, ended=False)
    assert rows.ids_NT.tolist() == [[5, 6, 7, 2], [5, 8, 2, 0]]
    assert rows.labels_NT.tolist() == [[-100, -100, 7, -100], [-100, 8, -100, -100]]
    assert naive.padded(items, pad_id=0, ended=True).labels_NT.tolist() == [[-100, -100, 7, 2], [-100, 8, 2, -100]]

"""Pairs of forget and retain rows: complete, fair, padded little, and the same whenever they are drawn again."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipelines.training.pairing import draw_retain, paired_batches

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=30)


@given(n_retain=st.integers(1, 40), per_epoch=st.integers(1, 15), epochs=st.integers(1, 8), seed=st.integers(0, 99))
def test_every_retain_row_comes_once_before_any_comes_again(
    n_retain: int, per_epoch: int, epochs: int, seed: int
) -> None:
    epochs_drawn = draw_retain(n_retain, per_epoch=per_epoch, epochs=epochs, seed=seed)
    assert [len(drawn) for drawn in epochs_drawn] == [per_epoch] * epochs
    counts = Counter(i for drawn in epochs_drawn for i in drawn)
    assert set(counts) <= set(range(n_retain))
    assert max(counts.values()) - min((counts[i] for i in range(n_retain)), default=0) <= 1


def test_more_epochs_do_not_change_the_earlier_ones() -> None:
    assert draw_retain(7, per_epoch=7, epochs=5, seed=1)[:2] == draw_retain(7, per_epoch=7, epochs=2, seed=1)


def test_no_retain_rows_give_empty_epochs() -> None:
    assert draw_retain(0, per_epoch=3, epochs=2, seed=0) == [[], []]


@given(lengths=LENGTHS, batch_size=st.integers(1, 8), epoch=st.integers(0, 3))
def test_every_row_is_in_one_batch_with_as_many_retain_rows(lengths: list[int], batch_size: int, epoch: int) -> None:
    forget = [range(n) for n in lengths]
    retain = {100 + i: range(n) for i, n in enumerate(reversed(lengths))}
    batches = paired_batches(forget, retain, drawn=list(retain), batch_size=batch_size, seed=0, epoch=epoch)
    assert sorted(i for batch in batches for i in batch.forget) == list(range(len(forget)))
    assert sorted(i for batch in batches for i in batch.retain) == sorted(retain)
    assert all(len(batch.forget) == len(batch.retain) <= batch_size for batch in batches)


def test_short_goes_with_short() -> None:
    forget = [range(n) for n in (5, 50, 6, 51)]
    retain = {0: range(49), 1: range(4), 2: range(48), 3: range(3)}
    batches = paired_batches(forget, retain, drawn=[0, 1, 2, 3], batch_size=2, seed=0, epoch=0)
    pairs = {(frozenset(batch.forget), frozenset(batch.retain)) for batch in batches}
    assert pairs == {(frozenset({0, 2}), frozenset({1, 3})), (frozenset({1, 3}), frozenset({0, 2}))}


def test_order_follows_seed_and_epoch() -> None:
    forget = [range(n) for n in range(1, 13)]

    def order(seed: int, epoch: int) -> list[tuple[int, ...]]:
        return [b.forget for b in paired_batches(forget, {}, drawn=[], batch_size=2, seed=seed, epoch=epoch)]

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(2) for epoch in range(2)}) == 4

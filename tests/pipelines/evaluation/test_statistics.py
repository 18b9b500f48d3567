"""Estimates against slow oracles; intervals that cover what they should."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.evaluation.statistics import (
    Bootstrap,
    auc,
    auc_draws,
    harmonic_mean,
    ks_p_draws,
    ks_p_value,
)

SAMPLE = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=15).map(np.array)


def _slow_auc(positive: np.ndarray, negative: np.ndarray) -> float:
    wins = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative)
    return wins / (len(positive) * len(negative))


@given(SAMPLE, SAMPLE)
def test_auc_counts_pairs_and_halves_ties(positive: np.ndarray, negative: np.ndarray) -> None:
    assert auc(positive, negative) == pytest.approx(_slow_auc(positive, negative), abs=1e-12)


@given(SAMPLE, SAMPLE, st.integers(0, 2**31 - 1))
def test_auc_draws_equal_the_auc_of_the_rows_drawn(positive: np.ndarray, negative: np.ndarray, seed: int) -> None:
    bootstrap = Bootstrap(samples=5, confidence=0.9, seed=seed)
    count_SN = bootstrap.counts("forget", len(positive))
    count_SM = bootstrap.counts("holdout", len(negative))
    found = auc_draws(positive, negative, count_SN=count_SN, count_SM=count_SM)
    for s in range(5):
        drawn = np.repeat(positive, count_SN[s].astype(int)), np.repeat(negative, count_SM[s].astype(int))
        assert found[s] == pytest.approx(_slow_auc(*drawn), abs=1e-12)


def test_means_are_of_the_rows_drawn() -> None:
    bootstrap = Bootstrap(samples=7, confidence=0.9, seed=1)
    values = np.array([1.0, 5.0, 2.0, 8.0])
    counts = bootstrap.counts("retain", 4)
    assert counts.sum(axis=1).tolist() == [4.0] * 7
    expected = [np.repeat(values, count.astype(int)).mean() for count in counts]
    np.testing.assert_allclose(bootstrap.means("retain", values), expected)


def test_resamples_depend_on_seed_stream_and_size_alone() -> None:
    def counts(seed: int, stream: str, n: int) -> list[list[float]]:
        found: list[list[float]] = Bootstrap(samples=20, confidence=0.9, seed=seed).counts(stream, n).tolist()
        return found

    assert counts(0, "forget", 9) == counts(0, "forget", 9)
    assert counts(0, "forget", 9) != counts(1, "forget", 9)
    assert counts(0, "forget", 9) != counts(0, "holdout", 9)


def test_asking_in_another_order_changes_nothing() -> None:
    one, other = (Bootstrap(samples=10, confidence=0.9, seed=0) for _ in range(2))
    one.counts("forget", 5)
    assert one.counts("retain", 5).tolist() == other.counts("retain", 5).tolist()


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    """Of 400 samples of 40 normal values, a 90 % interval must hold the true mean 360 times, give or take 3 x 6."""
    generator = np.random.default_rng(0)
    held = 0
    for trial in range(400):
        values = generator.normal(loc=1.0, size=40)
        bootstrap = Bootstrap(samples=300, confidence=0.9, seed=trial)
        interval = bootstrap.interval(bootstrap.means("retain", values))
        held += interval.low <= 1.0 <= interval.high
    assert 340 <= held <= 378


def test_interval_of_the_auc_covers_the_true_one() -> None:
    """Two normals one apart have AUC Phi(1 / sqrt 2) = .760; percentile intervals run a little short."""
    generator = np.random.default_rng(1)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    held = 0
    for trial in range(200):
        positive, negative = generator.normal(1.0, size=30), generator.normal(size=50)
        bootstrap = Bootstrap(samples=300, confidence=0.9, seed=trial)
        draws = auc_draws(positive, negative, count_SN=bootstrap.counts("a", 30), count_SM=bootstrap.counts("b", 50))
        interval = bootstrap.interval(draws)
        held += interval.low <= truth <= interval.high
    assert 165 <= held <= 195


def test_harmonic_mean_of_the_published_parts_is_the_published_model_utility() -> None:
    """Llama-3.2-1B on TOFU: 9 / sum(1 / part) = .6009."""
    parts = [0.8545, 0.7724, 0.5117, 0.4297, 0.8195, 0.5522, 0.4310, 0.8308, 0.5963]
    found = harmonic_mean([np.array(part) for part in parts])
    assert float(found) == pytest.approx(0.6009, abs=5e-5)
    assert float(found) == pytest.approx(stats.hmean(parts), abs=1e-12)


def test_harmonic_mean_with_a_zero_part_is_zero() -> None:
    parts = [np.array([0.5, 0.5]), np.array([0.0, 0.5])]
    assert harmonic_mean(parts).tolist() == [0.0, 0.5]


@pytest.mark.filterwarnings("ignore:ks_2samp. Exact calculation unsuccessful:RuntimeWarning")
@given(SAMPLE, SAMPLE)
def test_ks_is_scipys(first: np.ndarray, second: np.ndarray) -> None:
    assert ks_p_value(first, second) == float(stats.ks_2samp(first, second).pvalue)


def test_ks_of_nearly_equal_samples_is_one_without_a_warning() -> None:
    nearly = np.zeros(7)
    nearly[6] = 1.0
    assert ks_p_value(np.zeros(7), nearly) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.filterwarnings("ignore:ks_2samp. Exact calculation unsuccessful:RuntimeWarning")
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12), st.integers(0, 99))
def test_ks_draws_equal_scipys_on_the_rows_drawn(pairs: list[tuple[int, int]], seed: int) -> None:
    first, second = (np.array([float(pair[i]) for pair in pairs]) for i in (0, 1))
    count_SN = Bootstrap(samples=4, confidence=0.9, seed=seed).counts("forget", len(pairs))
    found = ks_p_draws(first, second, count_SN=count_SN)
    for s, count in enumerate(count_SN):
        drawn = np.repeat(first, count.astype(int)), np.repeat(second, count.astype(int))
        assert found[s] == pytest.approx(float(stats.ks_2samp(*drawn).pvalue), abs=1e-9)

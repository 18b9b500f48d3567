"""Per-row definitions against plain loops, and numbers that follow by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.scoring import row_values
from pipelines.scoring.table import ModelScores, Variant
from tests.scored import answer, generated, model_scores

LOGPROBS = st.lists(st.lists(st.floats(-30, -1e-3), min_size=1, max_size=12), min_size=1, max_size=6)
HITS = st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=6)


def _scores(rows: Sequence[Sequence[float]], *, split: str = "forget") -> ModelScores:
    return model_scores({split: len(rows)}, [answer(split, i, logprob) for i, logprob in enumerate(rows)])


def _lowest_mean(values: Sequence[float]) -> float:
    kept = sorted(values)[: max(1, math.floor(len(values) * 4 / 10))]
    return sum(kept) / len(kept)


@given(LOGPROBS)
def test_probability_is_the_geometric_mean(rows: list[list[float]]) -> None:
    expected = [math.prod(math.exp(x) for x in row) ** (1 / len(row)) for row in rows]
    np.testing.assert_allclose(row_values.probability(_scores(rows), "forget"), expected, rtol=1e-5)


@given(LOGPROBS)
def test_min_k_is_the_mean_of_the_lowest_tokens(rows: list[list[float]]) -> None:
    expected = [_lowest_mean(row) for row in rows]
    np.testing.assert_allclose(row_values.min_k(_scores(rows), "forget"), expected, rtol=1e-6)


def test_min_k_of_five_tokens_looks_at_two() -> None:
    # 40 % of 5 is 2: the mean of -5 and -3
    assert row_values.min_k(_scores([[-1.0, -5.0, -2.0, -3.0, -0.5]]), "forget").tolist() == [-4.0]


@given(LOGPROBS)
def test_min_k_plus_plus_standardises_each_token_first(rows: list[list[float]]) -> None:
    means = [[-3.0 - t for t in range(len(row))] for row in rows]
    variances = [[0.5 + t for t in range(len(row))] for row in rows]
    scores = model_scores(
        {"forget": len(rows)},
        [answer("forget", i, row, vocab_mean=means[i], vocab_variance=variances[i]) for i, row in enumerate(rows)],
    )
    expected = [
        _lowest_mean([(x - m) / math.sqrt(v) for x, m, v in zip(row, means[i], variances[i], strict=True)])
        for i, row in enumerate(rows)
    ]
    np.testing.assert_allclose(row_values.min_k_plus_plus(scores, "forget"), expected, rtol=1e-5, atol=1e-6)


def test_min_k_plus_plus_of_a_certain_model_is_finite() -> None:
    scores = model_scores({"forget": 1}, [answer("forget", 0, [0.0], vocab_mean=[0.0], vocab_variance=[0.0])])
    assert row_values.min_k_plus_plus(scores, "forget").tolist() == [0.0]


@given(HITS)
def test_extraction_strength_tries_every_prefix(rows: list[list[bool]]) -> None:
    scores = model_scores(
        {"forget": len(rows)}, [answer("forget", i, [-1.0] * len(hit), hit=hit) for i, hit in enumerate(rows)]
    )
    expected = []
    for hit in rows:
        k = next((k for k in range(len(hit)) if all(hit[k:])), len(hit))
        expected.append(1 - k / len(hit))
    np.testing.assert_allclose(row_values.extraction_strength(scores, "forget"), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("hit", "strength", "memorised"),
    [
        ([True, True, True, True], 1.0, 1.0),
        ([False, True, True, True], 0.75, 0.75),
        ([True, False, True, True], 0.5, 0.75),
        ([True, True, True, False], 0.0, 0.75),
        ([False, False, False, False], 0.0, 0.0),
    ],
)
def test_extraction_strength_and_exact_memorization_by_hand(hit: list[bool], strength: float, memorised: float) -> None:
    """1 - k/N with N = 4: k = 0, 1, 2, 4, 4. Public code gives .25, not 0, in the last two."""
    scores = model_scores({"forget": 1}, [answer("forget", 0, [-1.0] * 4, hit=hit)])
    assert row_values.extraction_strength(scores, "forget").tolist() == [strength]
    assert row_values.exact_memorization(scores, "forget").tolist() == [memorised]


def _asked(right: float, wrong: Sequence[float], *, paraphrased: float | None = None) -> ModelScores:
    records = [answer("forget", 0, [right])]
    records += [answer("forget", 0, [w], variant=Variant.PERTURBED_ANSWER, index=i) for i, w in enumerate(wrong)]
    if paraphrased is not None:
        records.append(answer("forget", 0, [paraphrased], variant=Variant.PARAPHRASED_ANSWER))
    return model_scores({"forget": 1}, records)


def test_truth_ratio_by_hand() -> None:
    """Mean NLL of wrong answers (3 + 5) / 2 = 4, NLL of the paraphrase 2.5: log R = -4 + 2.5 = -1.5."""
    scores = _asked(-9.0, [-3.0, -5.0], paraphrased=-2.5)
    assert row_values.log_truth_ratio(scores, "forget").tolist() == [-1.5]
    np.testing.assert_allclose(row_values.truth_ratio_utility(scores, "forget"), [1 - math.exp(-1.5)])


def test_truth_ratio_falls_back_to_the_answer_as_for_real_authors() -> None:
    assert row_values.log_truth_ratio(_asked(-1.0, [-3.0]), "forget").tolist() == [-2.0]


def test_truth_ratio_utility_is_zero_where_the_wrong_answer_wins() -> None:
    assert row_values.truth_ratio_utility(_asked(-1000.0, [-0.1]), "forget").tolist() == [0.0]


def test_option_probability_by_hand() -> None:
    """P(right) = .5 against .3 and .2 x .5 = .1: .5 / .9."""
    scores = _asked(math.log(0.5), [math.log(0.3), math.log(0.1)])
    np.testing.assert_allclose(row_values.option_probability(scores, "forget"), [0.5 / 0.9], rtol=1e-6)


def test_the_fact_is_read_in_the_wording_of_the_wrong_answers() -> None:
    """Row 0: paraphrase .25 against .75, whatever its own wording says; row 1 has no paraphrase: .5 against .5."""
    wordings = (Variant.ANSWER, Variant.PARAPHRASED_ANSWER, Variant.PERTURBED_ANSWER)
    rows = ((0.9, 0.25, 0.75), (0.5, None, 0.5))
    records = [
        answer("forget", row, [math.log(p)], variant=variant)
        for row, values in enumerate(rows)
        for variant, p in zip(wordings, values, strict=True)
        if p is not None
    ]
    scores = model_scores({"forget": 2}, records)
    np.testing.assert_allclose(row_values.fact_probability(scores, "forget"), [0.25, 0.5], rtol=1e-6)


def test_option_probability_is_defined_where_everything_underflows() -> None:
    np.testing.assert_allclose(row_values.option_probability(_asked(-2000.0, [-2000.0]), "forget"), [0.5])
    np.testing.assert_allclose(row_values.option_probability(_asked(-9000.0, [-1.0]), "forget"), [0.0], atol=1e-300)


def test_known_probability_is_normalised_on_utility_sets_alone() -> None:
    records = [
        record
        for split in ("retain", "world_facts")
        for record in (
            answer(split, 0, [math.log(0.5)]),
            answer(split, 0, [math.log(0.5)], variant=Variant.PERTURBED_ANSWER),
        )
    ]
    scores = model_scores({"retain": 1, "world_facts": 1}, records)
    np.testing.assert_allclose(row_values.known_probability(scores, "retain"), [0.5], rtol=1e-6)
    np.testing.assert_allclose(row_values.known_probability(scores, "world_facts"), [0.5 / (0.5 + 0.5)], rtol=1e-6)
    scores = model_scores({"world_facts": 1}, [answer("world_facts", 0, [math.log(0.5)])])
    assert np.isnan(row_values.known_probability(scores, "world_facts")).all()


EVERY = (
    row_values.probability,
    row_values.option_probability,
    row_values.log_truth_ratio,
    row_values.truth_ratio_utility,
    row_values.extraction_strength,
    row_values.exact_memorization,
    row_values.min_k,
    row_values.min_k_plus_plus,
    row_values.paraphrase_probability,
    row_values.paraphrase_extraction_strength,
    row_values.rouge_recall,
    row_values.distinct_4,
)


OF_TOKENS = (
    row_values.probability,
    row_values.extraction_strength,
    row_values.exact_memorization,
    row_values.min_k,
    row_values.entropy,
    row_values.log_rank,
    row_values.zlib_score,
)


@pytest.mark.parametrize("value", EVERY, ids=lambda value: value.__name__)
def test_rows_that_lack_something_are_missing_not_wrong(value: row_values.RowValue) -> None:
    """Row 1 of three has nothing, row 2 has NaN log-probabilities; row 0 is whole."""
    records = []
    for row, logprob in ((0, -1.0), (2, math.nan)):
        records += [answer("forget", row, [logprob], variant=variant) for variant in Variant]
    scores = model_scores({"forget": 3}, records, [generated("forget", 0, rouge=0.5)])
    found = value(scores, "forget")
    assert np.isfinite(found).tolist() == [True, False, False]


@pytest.mark.parametrize("value", [*OF_TOKENS, row_values.min_k_plus_plus], ids=lambda value: value.__name__)
def test_one_token_that_is_no_number_leaves_the_row_without_a_value(value: row_values.RowValue) -> None:
    """The last of five: among the lowest two of the others it would not be seen."""
    logprob = [-1.0, -5.0, -2.0, -3.0, math.nan]
    assert np.isnan(value(_scores([logprob]), "forget")).all()


def test_wrong_and_reworded_answers_that_are_no_numbers_leave_the_row_without_a_value() -> None:
    """What is absent is passed over, what a broken model says is not."""
    broken_wrong = _asked(-1.0, [-3.0, math.nan], paraphrased=-2.0)
    broken_words = _asked(-1.0, [-3.0], paraphrased=math.nan)
    assert np.isnan(row_values.exposure(broken_wrong, "forget")).all()
    for value in (row_values.log_truth_ratio, row_values.fact_probability, row_values.truth_ratio_probability):
        for scores in (broken_wrong, broken_words):
            assert np.isnan(value(scores, "forget")).all()


@pytest.mark.parametrize("value", EVERY, ids=lambda value: value.__name__)
def test_a_split_without_any_score_is_missing_throughout(value: row_values.RowValue) -> None:
    assert np.isnan(value(model_scores({"forget": 2}, []), "forget")).tolist() == [True, True]


def test_an_answer_without_a_scored_token_is_missing() -> None:
    scores = model_scores({"forget": 2}, [answer("forget", 0, []), answer("forget", 1, [-1.0])])
    assert np.isfinite(row_values.probability(scores, "forget")).tolist() == [False, True]

"""Values by hand: exposure, ranks, entropy, loss and zlib membership, the reference attack, perplexity."""

import math

import pytest

from pipelines.evaluation.statistics import Bootstrap
from pipelines.metrics import METRICS, Evidence
from pipelines.metrics.base import Reading
from pipelines.scoring.table import ModelScores, Variant
from tests.scored import Record, answer, generated, model_scores

BOOTSTRAP = Bootstrap(samples=100, confidence=0.95, seed=0)


def _read(name: str, scores: ModelScores, reference: ModelScores | None = None) -> Reading:
    readings = METRICS[name].measure(Evidence(scores, reference, bootstrap=BOOTSTRAP))
    return next(reading for reading in readings if reading.split == "forget")


def _against_wrong(right: float, *wrong: float) -> ModelScores:
    records: list[Record] = [answer("forget", 0, [right])]
    records += [
        answer("forget", 0, [value], variant=Variant.PERTURBED_ANSWER, index=i) for i, value in enumerate(wrong)
    ]
    return model_scores({"forget": 1}, records)


@pytest.mark.parametrize(
    ("right", "bits"),
    [(-0.5, 2.0), (-1.5, 1.0), (-9.0, 0.0), (-1.0, 2.0)],
    ids=["first of four", "second of four", "last", "a tie counts as the first"],
)
def test_exposure_is_two_bits_among_four_candidates(right: float, bits: float) -> None:
    assert _read("exposure", _against_wrong(right, -1.0, -2.0, -3.0)).value == pytest.approx(bits)


def test_option_probability_and_the_share_of_the_truth_ratio() -> None:
    """Of e^-1 against e^-2 and e^-3. Without a paraphrase R = exp(-2.5) / exp(-1)."""
    scores = _against_wrong(-1.0, -2.0, -3.0)
    total = math.exp(-1) + math.exp(-2) + math.exp(-3)
    assert _read("option_probability", scores).value == pytest.approx(math.exp(-1) / total)
    assert _read("truth_ratio_share", scores).value == pytest.approx(1 / (1 + math.exp(-1.5)))


def test_entropy_rank_and_perplexity_are_means_over_the_answers_tokens() -> None:
    records = [
        answer("forget", 0, [-1.0, -3.0], vocab_mean=[-0.5, -1.5], rank=[0, 3]),
        answer("forget", 1, [-4.0], vocab_mean=[-2.0], rank=[1]),
    ]
    scores = model_scores({"forget": 2}, records)
    assert _read("entropy", scores).value == pytest.approx((1.0 + 2.0) / 2)
    assert _read("token_rank", scores).value == pytest.approx((math.log(4) / 2 + math.log(2)) / 2)
    perplexity = _read("perplexity", scores)
    assert perplexity.value == pytest.approx(math.exp((2.0 + 4.0) / 2))
    assert perplexity.interval is not None
    assert perplexity.interval.low <= math.exp(3.0) <= perplexity.interval.high


def _members(forget: list[Record], holdout: list[Record]) -> ModelScores:
    return model_scores({"forget": len(forget), "holdout": len(holdout)}, [*forget, *holdout])


def test_zlib_forgives_simple_text_where_loss_does_not() -> None:
    """Two forget rows of 40 bytes against one holdout row of 10: more likely in all, less likely per byte."""
    forget = [answer("forget", i, [-2.0], zlib_bytes=40) for i in range(2)]
    scores = _members(forget, [answer("holdout", 0, [-1.0], zlib_bytes=10)])
    assert _read("membership_loss", scores).value == 0.0
    assert _read("membership_zlib", scores).value == 1.0


def test_zlib_takes_the_mean_over_tokens_as_perplexity_does() -> None:
    """Four tokens of -2 nats in 40 bytes: -2/40 is more than one token's -2/20, though -8/40 is less."""
    scores = _members([answer("forget", 0, [-2.0] * 4, zlib_bytes=40)], [answer("holdout", 0, [-2.0], zlib_bytes=20)])
    assert _read("membership_zlib", scores).value == 1.0


def test_knowledge_memorization_is_f1_where_rouge_is_recall() -> None:
    rows = [generated("forget", 0, rouge=1.0, f1=0.4), generated("retain", 0, rouge=1.0, f1=0.9)]
    scores = model_scores({"forget": 1, "retain": 1, "facts": 1}, [], rows)
    found = METRICS["knowledge_memorization"].measure(Evidence(scores, None, bootstrap=BOOTSTRAP))
    assert [(reading.split, reading.value) for reading in found] == [("forget", 0.4), ("retain", 0.9)]
    assert _read("rouge", scores).value == 1.0


def test_semantic_match_names_its_encoder_and_has_no_value_without_one() -> None:
    with_one = model_scores({"forget": 1}, [], [generated("forget", 0, rouge=0.0, semantic=-0.25)])
    reading = _read("semantic_match", with_one)
    assert (reading.value, reading.made_with) == (-0.25, "e" * 64)
    assert _read("semantic_match", model_scores({"forget": 1}, [], [generated("forget", 0, rouge=0.0)])).value is None


def test_a_smaller_gradient_looks_like_a_member() -> None:
    """.1 is less than .2 and .4 and more than .05: two of three."""
    forget = [answer("forget", i, [-2.0], gradient_norm=0.1) for i in range(3)]
    holdout = [answer("holdout", i, [-2.0], gradient_norm=norm) for i, norm in enumerate((0.2, 0.4, 0.05))]
    assert _read("membership_gradient_norm", _members(forget, holdout)).value == pytest.approx(2 / 3)


def test_what_the_reference_finds_likely_too_is_no_sign_of_membership() -> None:
    """By loss the forget row stands out; the reference finds it as likely, so nothing is left."""
    ours = _members([answer("forget", 0, [-1.0])], [answer("holdout", 0, [-5.0])])
    same = _members([answer("forget", 0, [-1.0])], [answer("holdout", 0, [-5.0])])
    unaware = _members([answer("forget", 0, [-5.0])], [answer("holdout", 0, [-5.0])])
    assert _read("membership_loss", ours).value == 1.0
    assert _read("membership_reference", ours, same).value == 0.5
    assert _read("membership_reference", ours, unaware).value == 1.0


@pytest.mark.parametrize(
    ("metric", "column"),
    [
        ("rouge", "rouge"),
        ("knowledge_memorization", "f1"),
        ("bleu", "bleu"),
        ("verbatim_memorization", "verbatim"),
        ("sampled_leakage", "sampled_leakage"),
        ("semantic_match", "semantic"),
        ("fluency", "distinct"),
    ],
)
def test_what_generation_gave_is_read_from_its_own_column(metric: str, column: str) -> None:
    names = ("rouge", "distinct", "f1", "bleu", "verbatim", "sampled_leakage", "semantic")
    values = {name: 0.1 * place for place, name in enumerate(names, start=1)}
    scores = model_scores({"forget": 1}, [], [generated("forget", 0, **values)])
    assert _read(metric, scores).value == pytest.approx(values[column])


def test_min_k_plus_plus_attacks_with_standardised_tokens() -> None:
    """Less likely than the holdout row in nats, but two deviations above the others there, not one."""
    forget = [answer("forget", 0, [-4.0], vocab_mean=[-6.0], vocab_variance=[1.0])]
    scores = _members(forget, [answer("holdout", 0, [-1.0], vocab_mean=[-2.0], vocab_variance=[1.0])])
    assert _read("min_k", scores).value == 0.0
    assert _read("min_k_plus_plus", scores).value == 1.0

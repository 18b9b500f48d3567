"""What every metric must hold to, run over the whole registry."""

import math

import numpy as np
import pytest

from pipelines.evaluation.statistics import Bootstrap
from pipelines.metrics import METRICS, Evidence, Metric
from pipelines.scoring.table import ModelScores, Variant
from tests.scored import answer, generated, model_scores

ROWS = {"forget": 6, "retain": 8, "neighbours": 4, "holdout": 7, "real_authors": 5, "world_facts": 5}
GAPS = (
    "probability_gap",
    "extraction_strength_gap",
    "paraphrase_probability_gap",
    "paraphrase_extraction_strength_gap",
)
RANGES = {
    **dict.fromkeys((*GAPS, "membership_gap"), (-1.0, 1.0)),
    "privleak": (-math.inf, 100.0),
    "perplexity": (1.0, math.inf),
    "exposure": (0.0, 2.0),
    **dict.fromkeys(("entropy", "token_rank"), (0.0, math.inf)),
}
NEEDS_REFERENCE = {
    "membership_gap": 13,
    "membership_reference": 13,
    "privleak": 13,
    "forget_quality": 6,
    **dict.fromkeys(GAPS, 6),
}
"""With the number of per-row values that each should have: of forget and holdout rows, or of forget rows."""

EVERY_SPLIT = (
    "probability",
    "option_probability",
    "rouge",
    "bleu",
    "truth_ratio",
    "truth_ratio_share",
    "extraction_strength",
    "exact_memorization",
    "fluency",
    "perplexity",
    "entropy",
    "token_rank",
    "exposure",
)
FEW_VALUES = ("forget_quality", "extraction_strength_gap")
"""Take so few values on six rows that the quantiles of two seeds may agree."""

METRIC_LIST = list(METRICS.values())


def _scores(seed: int, *, rows: dict[str, int] | None = None, without: tuple[str, ...] = ()) -> ModelScores:
    generator, further = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    records, generations = [], []
    for split, n_rows in (rows or ROWS).items():
        for row in range(n_rows):
            for variant, count in (
                (Variant.ANSWER, 1),
                (Variant.PARAPHRASED_ANSWER, 1),
                (Variant.PERTURBED_ANSWER, 3),
                (Variant.PARAPHRASED_QUESTION, 1),
            ):
                if variant in without:
                    continue
                for index in range(count):
                    logprob = -generator.exponential(size=int(generator.integers(2, 9)))
                    hit = (logprob > -0.7).tolist()
                    more = {"rank": further.integers(0, 9, size=len(hit)).tolist()}
                    more["vocab_mean"] = (-further.exponential(size=len(hit))).tolist()
                    zlib_bytes, gradient_norm = int(further.integers(9, 40)), float(further.exponential())
                    records.append(
                        answer(
                            split,
                            row,
                            logprob.tolist(),
                            variant=variant,
                            index=index,
                            hit=hit,
                            zlib_bytes=zlib_bytes,
                            gradient_norm=gradient_norm,
                            **more,
                        )
                    )
            if "generations" not in without:
                rouge, distinct = generator.uniform(0.1, 1.0, size=2)
                bleu, verbatim, sampled, f1, semantic = further.uniform(0.1, 1.0, size=5)
                more = {"bleu": bleu, "verbatim": verbatim, "sampled_leakage": sampled, "f1": f1, "semantic": semantic}
                generations.append(generated(split, row, rouge=rouge, distinct=distinct, **more))
    return model_scores(rows or ROWS, records, generations, model=str(seed))


def _evidence(subject: ModelScores, reference: ModelScores | None = None, *, seed: int = 0) -> Evidence:
    return Evidence(subject, reference, bootstrap=Bootstrap(samples=200, confidence=0.95, seed=seed))


@pytest.fixture(params=METRIC_LIST, ids=lambda metric: metric.name)
def metric(request: pytest.FixtureRequest) -> Metric:
    found = request.param
    assert isinstance(found, Metric)
    return found


def test_measures_everything_it_is_defined_on(metric: Metric) -> None:
    readings = metric.measure(_evidence(_scores(1), _scores(2)))
    assert readings
    assert len({reading.split for reading in readings}) == len(readings)
    low, high = RANGES.get(metric.name, (0.0, 1.0))
    for reading in readings:
        assert reading.value is not None
        assert low <= reading.value <= high
        assert reading.interval is not None
        assert low <= reading.interval.low <= reading.interval.high <= high
        assert reading.n_scored == reading.n_expected == len(reading.items) > 0
    if metric.name in EVERY_SPLIT:
        assert [reading.split for reading in readings] == list(ROWS)


def test_interval_holds_the_value(metric: Metric) -> None:
    for reading in metric.measure(_evidence(_scores(1), _scores(2))):
        assert reading.value is not None
        assert reading.interval is not None
        if metric.name != "forget_quality":  # a resample of two equal samples is less equal than they are
            assert reading.interval.low <= reading.value <= reading.interval.high


def test_is_deterministic_and_the_seed_moves_only_the_interval(metric: Metric) -> None:
    one, same, other = (metric.measure(_evidence(_scores(1), _scores(2), seed=seed)) for seed in (0, 0, 1))
    assert [(r.value, r.interval) for r in one] == [(r.value, r.interval) for r in same]
    assert [r.value for r in one] == [r.value for r in other]
    if metric.name not in FEW_VALUES:
        assert any(a.interval != b.interval for a, b in zip(one, other, strict=True))


def test_nothing_scored_is_a_reading_without_a_value(metric: Metric) -> None:
    for reading in metric.measure(_evidence(model_scores(ROWS, []), model_scores(ROWS, []))):
        assert reading.value is None
        assert reading.interval is None
        assert reading.n_scored == 0
        assert reading.n_expected == len(reading.items) > 0


def test_the_same_readings_are_there_with_and_without_scores(metric: Metric) -> None:
    whole = metric.measure(_evidence(_scores(1), _scores(2)))
    empty = metric.measure(_evidence(model_scores(ROWS, [])))
    assert [(r.split, r.n_expected) for r in whole] == [(r.split, r.n_expected) for r in empty]


def test_no_splits_at_all_is_no_error(metric: Metric) -> None:
    for reading in metric.measure(_evidence(model_scores({}, []))):
        assert (reading.value, reading.n_expected) == (None, 0)


@pytest.mark.parametrize(("name", "n_expected"), NEEDS_REFERENCE.items())
def test_without_a_reference_there_is_no_value(name: str, n_expected: int) -> None:
    (reading,) = METRICS[name].measure(_evidence(_scores(1)))
    assert (reading.split, reading.value, reading.interval, reading.n_scored) == ("forget", None, None, 0)
    assert reading.n_expected == len(reading.items) == n_expected


MEMBERSHIP = [name for name in METRICS if name.startswith(("membership_", "min_k"))]


@pytest.mark.parametrize("name", [*MEMBERSHIP, "privleak"])
def test_without_a_holdout_there_is_no_value(name: str) -> None:
    rows = {"forget": 6, "retain": 8}
    (reading,) = METRICS[name].measure(_evidence(_scores(1, rows=rows), _scores(2, rows=rows)))
    assert (reading.value, reading.n_scored, reading.n_expected) == (None, 0, 6)


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("truth_ratio", Variant.PERTURBED_ANSWER),
        ("forget_quality", Variant.PERTURBED_ANSWER),
        ("model_utility", Variant.PERTURBED_ANSWER),
        ("model_utility", "generations"),
        ("rouge", "generations"),
        ("bleu", "generations"),
        ("verbatim_memorization", "generations"),
        ("knowledge_memorization", "generations"),
        ("semantic_match", "generations"),
        ("sampled_leakage", "generations"),
        ("option_probability", Variant.PERTURBED_ANSWER),
        ("exposure", Variant.PERTURBED_ANSWER),
        ("fluency", "generations"),
        ("paraphrase_probability", Variant.PARAPHRASED_QUESTION),
        ("paraphrase_extraction_strength", Variant.PARAPHRASED_QUESTION),
        ("paraphrase_probability_gap", Variant.PARAPHRASED_QUESTION),
        ("paraphrase_extraction_strength_gap", Variant.PARAPHRASED_QUESTION),
        ("probability_gap", Variant.ANSWER),
        ("extraction_strength_gap", Variant.ANSWER),
    ],
)
def test_without_its_ingredient_there_is_no_value(name: str, without: str) -> None:
    subject, reference = (_scores(seed, without=(without,)) for seed in (1, 2))
    assert {reading.value for reading in METRICS[name].measure(_evidence(subject, reference))} == {None}


def test_a_row_that_was_not_scored_shows_in_the_counts(metric: Metric) -> None:
    whole = _scores(1)
    rows = {split: n + 1 for split, n in ROWS.items()}
    partial = ModelScores(
        model_digest="0" * 64,
        data_digest=whole.data_digest,
        rows=rows,
        answers=whole.answers,
        generations=whole.generations,
    )
    for reading in metric.measure(_evidence(partial, partial)):
        assert 0 < reading.n_scored < reading.n_expected

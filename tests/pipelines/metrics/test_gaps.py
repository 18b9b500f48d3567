"""The gaps to the reference: differences of the same rows, resampled together."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.random import Generator

from pipelines.evaluation.statistics import Bootstrap
from pipelines.metrics import METRICS, Evidence, Reading
from pipelines.scoring.table import ModelScores, Variant
from tests.scored import Record, answer, model_scores

BOOTSTRAP = Bootstrap(samples=300, confidence=0.9, seed=5)
ROWS = {"forget": 14, "retain": 3}
PLAIN = {
    "probability_gap": ("probability", Variant.ANSWER),
    "extraction_strength_gap": ("extraction_strength", Variant.ANSWER),
    "paraphrase_probability_gap": ("paraphrase_probability", Variant.PARAPHRASED_QUESTION),
    "paraphrase_extraction_strength_gap": ("paraphrase_extraction_strength", Variant.PARAPHRASED_QUESTION),
}
"""Of which metric each gap is the difference, and which answers that reads."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model made of one answer."""

    logprob: tuple[float, ...]
    hit: tuple[bool, ...]


Answers = dict[tuple[str, int, Variant], Answer]


@pytest.fixture(params=PLAIN)
def name(request: pytest.FixtureRequest) -> str:
    found = request.param
    assert isinstance(found, str)
    return found


def _answers(seed: int) -> Answers:
    """Every row with its question and a paraphrase of it, each with log-probabilities and hits of its own."""
    draw = np.random.default_rng(seed)
    keys = [(split, row, variant) for split, n in ROWS.items() for row in range(n) for _, variant in PLAIN.values()]
    return {key: _answer(draw) for key in keys}


def _answer(draw: Generator) -> Answer:
    logprob = -draw.exponential(size=int(draw.integers(2, 9)))
    stored: list[float] = logprob.astype(np.float32).tolist()
    hit: list[bool] = (draw.random(len(logprob)) < 0.8).tolist()
    return Answer(tuple(stored), tuple(hit))


def _scores(answers: Answers) -> ModelScores:
    records: list[Record] = [
        answer(split, row, one.logprob, variant=variant, hit=one.hit) for (split, row, variant), one in answers.items()
    ]
    return model_scores(ROWS, records)


def _read(name: str, subject: Answers, reference: Answers | None) -> Reading:
    theirs = None if reference is None else _scores(reference)
    (reading,) = METRICS[name].measure(Evidence(_scores(subject), theirs, bootstrap=BOOTSTRAP))
    assert reading.split == "forget"
    return reading


def _alone(name: str, subject: Answers) -> Reading:
    """The metric that the gap is the difference of, on one model."""
    readings = METRICS[PLAIN[name][0]].measure(Evidence(_scores(subject), None, bootstrap=BOOTSTRAP))
    return next(reading for reading in readings if reading.split == "forget")


def _ends(reading: Reading) -> tuple[float, float, float]:
    assert reading.value is not None
    assert reading.interval is not None
    return reading.interval.low, reading.value, reading.interval.high


def _slow(name: str, one: Answer) -> float:
    """The definition for one answer: a geometric mean, or the shortest prefix after which every token is hit."""
    if "probability" in name:
        return float(np.prod([np.exp(x / len(one.logprob)) for x in one.logprob]))
    shortest = next(k for k in range(len(one.hit) + 1) if all(one.hit[k:]))
    return 1 - shortest / len(one.hit)


def test_value_items_and_interval_are_those_of_a_loop_over_rows_and_resamples(name: str) -> None:
    ours, theirs = _answers(1), _answers(2)
    keys = [("forget", row, PLAIN[name][1]) for row in range(ROWS["forget"])]
    gaps = [_slow(name, ours[key]) - _slow(name, theirs[key]) for key in keys]
    resampled = []
    for counts in BOOTSTRAP.counts("forget", len(gaps)):
        drawn = [gap for gap, count in zip(gaps, counts, strict=True) for _ in range(int(count))]
        resampled.append(sum(drawn) / len(drawn))
    reading = _read(name, ours, theirs)
    np.testing.assert_allclose(reading.items, gaps, atol=1e-12)
    expected = (np.quantile(resampled, 0.05), sum(gaps) / len(gaps), np.quantile(resampled, 0.95))
    assert _ends(reading) == pytest.approx(expected, abs=1e-12)


def test_is_the_difference_of_what_the_two_models_read_alone(name: str) -> None:
    """The paired mean of the difference is the difference of the means where every row is scored."""
    ours, theirs = (_ends(_alone(name, _answers(seed)))[1] for seed in (1, 2))
    assert _ends(_read(name, _answers(1), _answers(2)))[1] == pytest.approx(ours - theirs, abs=1e-12)


def test_by_hand_and_positive_where_the_model_knows_more() -> None:
    """Probabilities 1/2, 1/4 against 1/4, 1/4: 1/8. Suffixes of hits 2 of 2, 1 of 2 against 1 of 2, 0 of 2: 1/2."""

    def model(*rows: tuple[float, tuple[bool, bool]]) -> ModelScores:
        records: list[Record] = [
            answer("forget", row, [np.log(p), np.log(p)], variant=variant, hit=hit)
            for row, (p, hit) in enumerate(rows)
            for variant in (Variant.ANSWER, Variant.PARAPHRASED_QUESTION)
        ]
        return model_scores({"forget": len(rows)}, records)

    knows = model((0.5, (True, True)), (0.25, (False, True)))
    never = model((0.25, (False, True)), (0.25, (True, False)))
    for name in PLAIN:
        expected = 0.125 if "probability" in name else 0.5
        for subject, reference, sign in ((knows, never, 1), (never, knows, -1)):
            (reading,) = METRICS[name].measure(Evidence(subject, reference, bootstrap=BOOTSTRAP))
            assert reading.value == pytest.approx(sign * expected, abs=1e-7)


def test_swapping_the_models_mirrors_the_interval(name: str) -> None:
    low, value, high = _ends(_read(name, _answers(1), _answers(2)))
    assert low < value < high
    assert _ends(_read(name, _answers(2), _answers(1))) == pytest.approx((-high, -value, -low), abs=1e-12)


def test_the_reference_has_no_gap_to_itself_in_any_resample(name: str) -> None:
    reading = _read(name, _answers(1), _answers(1))
    assert _ends(reading) == (0.0, 0.0, 0.0)
    assert reading.n_scored == reading.n_expected == ROWS["forget"]


def _graded(extra: int) -> Answers:
    """Rows from unknown to well known, the same for every model; ``extra`` moves each of them by a twentieth."""

    def known(row: int) -> Answer:
        share = (row + 1 + (row % 2 and extra)) / 20
        hits = round(20 * share)
        return Answer((float(np.log(share)),) * 20, (False,) * (20 - hits) + (True,) * hits)

    return {("forget", row, v): known(row) for row in range(ROWS["forget"]) for _, v in PLAIN.values()}


def test_what_the_rows_share_cancels(name: str) -> None:
    """Shares of 1/20 to 14/20 per row, half of them 1/20 higher: two models resampled apart spread far wider."""
    ours, theirs = (_alone(name, _graded(extra)).items for extra in (1, 0))
    apart = BOOTSTRAP.interval(BOOTSTRAP.means("ours", ours) - BOOTSTRAP.means("theirs", theirs))
    low, value, high = _ends(_read(name, _graded(1), _graded(0)))
    assert value == pytest.approx(0.025, abs=1e-6)
    assert 0 < low < high
    assert apart.low < 0
    assert high - low < 0.2 * (apart.high - apart.low)


def test_only_the_forget_rows_and_only_its_own_question_count(name: str) -> None:
    ours, theirs = _answers(1), _answers(2)
    read = {key: one for key, one in ours.items() if key[0] == "forget" and key[2] == PLAIN[name][1]}
    assert _ends(_read(name, {**_answers(3), **read}, theirs)) == _ends(_read(name, ours, theirs))


def test_a_row_that_either_model_lacks_is_left_out_and_counted(name: str) -> None:
    """Row 0 is missing from the model, row 1 from the reference, row 2 from both, row 3 is NaN in the reference."""
    ours, theirs = _answers(1), _answers(2)
    whole = _read(name, ours, theirs)
    variant = PLAIN[name][1]
    broken = Answer((float("nan"), -1.0), (True, True))
    some = {key: one for key, one in ours.items() if key[1] not in (0, 2)}
    others = {key: one for key, one in theirs.items() if key[1] not in (1, 2)} | {("forget", 3, variant): broken}
    reading = _read(name, some, others)
    assert (reading.n_scored, reading.n_expected) == (10, 14)
    assert np.isnan(reading.items[:4]).all()
    assert reading.items[4:].tolist() == whole.items[4:].tolist()
    assert _ends(reading)[1] == pytest.approx(float(np.mean(whole.items[4:])), abs=1e-12)


def test_without_a_reference_there_is_no_value_but_the_rows_are_counted(name: str) -> None:
    reading = _read(name, _answers(1), None)
    assert (reading.value, reading.interval, reading.n_scored, reading.n_expected) == (None, None, 0, ROWS["forget"])
    assert np.isnan(reading.items).all()


def test_where_nothing_is_to_be_forgotten_there_is_no_reading(name: str) -> None:
    scores = model_scores({"retain": 1}, [answer("retain", 0, [-1.0])])
    assert METRICS[name].measure(Evidence(scores, scores, bootstrap=BOOTSTRAP)) == ()


def _surrogate(name: str, forget: list[float], holdout: list[float]) -> Reading:
    records = [answer("forget", i, [value]) for i, value in enumerate(forget)]
    records += [answer("holdout", i, [value]) for i, value in enumerate(holdout)]
    scores = model_scores({"forget": len(forget), "holdout": len(holdout)}, records)
    bootstrap = Bootstrap(samples=400, confidence=0.95, seed=0)
    (reading,) = METRICS[name].measure(Evidence(scores, None, bootstrap=bootstrap, surrogate="holdout"))
    return reading


def test_without_a_reference_the_holdout_may_stand_in_and_is_named() -> None:
    forget, holdout = [-1.0, -2.0, -3.0], [-1.0, -4.0]
    reading = _surrogate("probability_gap", forget, holdout)
    assert reading.value == pytest.approx(np.exp(forget).mean() - np.exp(holdout).mean())
    assert reading.value is not None
    assert reading.interval is not None
    assert reading.interval.low < reading.value < reading.interval.high
    assert (reading.surrogate, reading.n_scored, reading.n_expected) == ("holdout", 5, 5)
    membership = _surrogate("membership_gap", forget, holdout)
    # of the six pairs: -1 ties with -1 and beats -4; -2 and -3 beat -4
    assert membership.value == pytest.approx(3.5 / 6 - 0.5)
    assert membership.surrogate == "holdout"


@pytest.mark.parametrize("name", ["probability_gap", "membership_gap"])
def test_a_surrogate_without_a_holdout_has_no_value(name: str) -> None:
    reading = _surrogate(name, [-1.0], [])
    assert (reading.value, reading.surrogate) == (None, "holdout")


def test_a_real_reference_leaves_no_room_for_a_surrogate() -> None:
    records = [answer("forget", 0, [-1.0]), answer("holdout", 0, [-9.0])]
    scores = model_scores({"forget": 1, "holdout": 1}, records)
    evidence = Evidence(scores, scores, bootstrap=Bootstrap(samples=100, confidence=0.95, seed=0), surrogate="holdout")
    (reading,) = METRICS["probability_gap"].measure(evidence)
    assert (reading.value, reading.surrogate) == (0.0, None)


def test_against_several_shadows_rows_and_shadows_are_resampled(name: str) -> None:
    """Slowly: each resample's mean over resampled shadows of the mean difference over resampled rows."""
    ours, shadows = _scores(_answers(1)), [_scores(_answers(seed)) for seed in (2, 3, 4)]
    evidence = Evidence(ours, shadows[0], bootstrap=BOOTSTRAP, surrogate="shadow", shadows=shadows[1:])
    (reading,) = METRICS[name].measure(evidence)
    mine, *others = (
        METRICS[PLAIN[name][0]].measure(Evidence(scores, None, bootstrap=BOOTSTRAP))[0].items
        for scores in (ours, *shadows)
    )
    rows, drawn = BOOTSTRAP.counts("forget", 14), BOOTSTRAP.counts("shadow models", 3)
    draws = []
    for s in range(300):
        gaps = [sum(rows[s, r] * (mine[r] - other[r]) for r in range(14)) / 14 for other in others]
        draws.append(sum(drawn[s, k] * gaps[k] for k in range(3)) / 3)
    expected = BOOTSTRAP.interval(np.array(draws))
    assert reading.value == pytest.approx(float(np.mean([mine - other for other in others])))
    assert reading.interval is not None
    assert (reading.interval.low, reading.interval.high) == pytest.approx((expected.low, expected.high))


def test_membership_is_held_against_the_mean_of_the_shadows() -> None:
    """Forget at -1 and -3, holdout at -2 (AUC .5); the shadows' AUC are 1 and 0, their mean is .5 too."""

    def scores(*logprob: float) -> ModelScores:
        records = [answer("forget", i, [value]) for i, value in enumerate(logprob)]
        return model_scores({"forget": 2, "holdout": 1}, [*records, answer("holdout", 0, [-2.0])])

    ours, high, low = scores(-1.0, -3.0), scores(-1.0, -1.5), scores(-3.0, -4.0)
    evidence = Evidence(ours, high, bootstrap=BOOTSTRAP, surrogate="shadow", shadows=[low])
    (reading,) = METRICS["membership_gap"].measure(evidence)
    assert reading.value == pytest.approx(0.0)
    (alone,) = METRICS["membership_gap"].measure(Evidence(ours, high, bootstrap=BOOTSTRAP))
    assert alone.value == pytest.approx(-0.5)


def test_rows_of_an_earlier_request_are_compared_by_themselves() -> None:
    """Two rows each: e^-1 and e^-2 against e^-2 and e^-3 on the earlier split; no other split becomes a utility set."""
    found = []
    for shift in (0.0, 1.0):
        records = [
            answer(split, row, [-(1.0 + row + (shift if split == "earlier_1" else 0.0))])
            for split in ("forget", "earlier_1")
            for row in range(2)
        ]
        found.append(model_scores({"forget": 2, "earlier_1": 2}, records))
    evidence = Evidence(subject=found[0], reference=found[1], bootstrap=BOOTSTRAP)
    forget, earlier = METRICS["probability_gap"].measure(evidence)
    expected = (math.exp(-1) + math.exp(-2)) / 2 - (math.exp(-2) + math.exp(-3)) / 2
    assert (forget.split, forget.value) == ("forget", 0.0)
    assert earlier.split == "earlier_1"
    assert earlier.value == pytest.approx(expected)
    assert found[0].utility_sets() == ()

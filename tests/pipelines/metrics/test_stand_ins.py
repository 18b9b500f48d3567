"""Intervals where the holdout or several shadow models stand in for a reference, and where no interval can be had."""

import math

import numpy as np
import pytest

from pipelines.evaluation.statistics import Bootstrap
from pipelines.metrics import METRICS, Evidence, Reading
from pipelines.scoring.table import Floats, ModelScores, Variant
from tests.scored import answer, model_scores

SAMPLES = 300
BOOTSTRAP = Bootstrap(samples=SAMPLES, confidence=0.9, seed=2)


def _scores(forget: list[float], holdout: list[float]) -> ModelScores:
    records = [answer("forget", i, [value]) for i, value in enumerate(forget)]
    records += [answer("holdout", i, [value]) for i, value in enumerate(holdout)]
    return model_scores({"forget": len(forget), "holdout": len(holdout)}, records)


def _read(name: str, evidence: Evidence) -> Reading:
    (reading,) = METRICS[name].measure(evidence)
    return reading


def _against_holdout(name: str, forget: list[float], holdout: list[float]) -> Reading:
    return _read(name, Evidence(_scores(forget, holdout), None, bootstrap=BOOTSTRAP, surrogate="holdout"))


def _ends(reading: Reading) -> tuple[float, float]:
    assert reading.interval is not None
    return reading.interval.low, reading.interval.high


def _quantiles(draws: list[float]) -> tuple[float, float]:
    return float(np.quantile(draws, 0.05)), float(np.quantile(draws, 0.95))


def _resamples(stream: str, values: list[float]) -> list[list[float]]:
    """The rows of each resample, one by one."""
    counts = BOOTSTRAP.counts(stream, len(values))
    return [[v for v, n in zip(values, line, strict=True) for _ in range(int(n))] for line in counts]


def _auc(members: list[float], others: list[float]) -> float:
    wins = [(a > b) + 0.5 * (a == b) for a in members for b in others]
    return sum(wins) / len(wins)


FORGET, HOLDOUT = [-0.5, -1.0, -2.0, -2.5, -3.0], [-1.0, -1.5, -2.75, -4.0]


def test_forget_and_holdout_rows_are_resampled_each_by_itself() -> None:
    pairs = zip(_resamples("forget", FORGET), _resamples("holdout", HOLDOUT), strict=True)
    draws = [float(np.exp(ours).mean() - np.exp(theirs).mean()) for ours, theirs in pairs]
    assert _ends(_against_holdout("probability_gap", FORGET, HOLDOUT)) == pytest.approx(_quantiles(draws), abs=1e-7)


def test_membership_against_chance_has_its_interval_around_chance() -> None:
    pairs = zip(_resamples("forget", FORGET), _resamples("holdout", HOLDOUT), strict=True)
    draws = [_auc(ours, theirs) - 0.5 for ours, theirs in pairs]
    reading = _against_holdout("membership_gap", FORGET, HOLDOUT)
    assert reading.value == pytest.approx(_auc(FORGET, HOLDOUT) - 0.5)
    assert _ends(reading) == pytest.approx(_quantiles(draws))


@pytest.mark.parametrize(("forget", "holdout"), [([-1.0, math.nan], [-1.0]), ([-1.0], [-1.0, math.nan])])
def test_a_row_without_a_value_on_either_side_leaves_no_gap_to_the_holdout(
    forget: list[float], holdout: list[float]
) -> None:
    reading = _against_holdout("probability_gap", forget, holdout)
    assert (reading.value, reading.interval, reading.n_scored, reading.n_expected) == (None, None, 0, 3)


def test_membership_beside_several_shadows_has_what_they_differ_by_in_its_interval() -> None:
    """Slowly: each resample's AUC minus the mean of the AUCs of resampled shadows, all on the same resampled rows."""
    draw = np.random.default_rng(0)
    models: list[list[list[float]]] = [
        [draw.normal(-2.0, 1.0, n).astype(np.float32).tolist() for n in (len(FORGET), len(HOLDOUT))] for _ in range(4)
    ]
    ours, *shadows = (_scores(*model) for model in models)
    evidence = Evidence(ours, shadows[0], bootstrap=BOOTSTRAP, surrogate="shadow", shadows=shadows[1:])
    aucs = np.array([_resampled_auc(*model) for model in models])
    chosen = BOOTSTRAP.counts("shadow models", 3)
    draws = [float(aucs[0, s] - chosen[s] @ aucs[1:, s] / 3) for s in range(SAMPLES)]
    assert _ends(_read("membership_gap", evidence)) == pytest.approx(_quantiles(draws))


def _resampled_auc(forget: list[float], holdout: list[float]) -> Floats:
    pairs = zip(_resamples("forget", forget), _resamples("holdout", holdout), strict=True)
    return np.array([_auc(ours, theirs) for ours, theirs in pairs])


def test_privleak_without_room_in_a_resample_has_no_value() -> None:
    """The reference's AUC is 8 of 9, and 1 in every resample without its worst row: there is nothing to divide by."""
    subject, reference = _scores([-1.0] * 3, [-2.0] * 3), _scores([-1.0, -1.0, -2.5], [-3.0, -3.0, -2.0])
    assert _read("min_k", Evidence(reference, None, bootstrap=BOOTSTRAP)).value == pytest.approx(8 / 9)
    reading = _read("privleak", Evidence(subject, reference, bootstrap=BOOTSTRAP))
    assert (reading.value, reading.interval, reading.n_scored) == (None, None, 0)


def test_a_model_that_rules_an_answer_out_has_a_perplexity_and_a_share_that_are_numbers() -> None:
    """5000 nats: e^5000 is no float64, and e^700 says as much; of right against wrong nothing is left."""
    scores = model_scores({"forget": 1}, [answer("forget", 0, [-5000.0])])
    perplexity = _read("perplexity", Evidence(scores, None, bootstrap=BOOTSTRAP)).value
    assert perplexity == pytest.approx(math.exp(700))
    records = [answer("forget", 0, [-5000.0]), answer("forget", 0, [-1.0], variant=Variant.PERTURBED_ANSWER)]
    share = _read("truth_ratio_share", Evidence(model_scores({"forget": 1}, records), None, bootstrap=BOOTSTRAP))
    assert share.value == pytest.approx(0.0, abs=1e-300)


@pytest.mark.parametrize("name", ["membership_gap", "membership_reference"])
def test_a_row_that_the_reference_alone_lacks_is_left_out_of_both_and_counted(name: str) -> None:
    """Without its second forget and third holdout row the reference has four and three: so has the model."""
    whole = _scores(FORGET, HOLDOUT)
    theirs = [value - 0.3 * place for place, value in enumerate(FORGET)]
    partial = _scores([theirs[0], math.nan, *theirs[2:]], [*HOLDOUT[:2], math.nan, HOLDOUT[3]])
    found = _read(name, Evidence(whole, partial, bootstrap=BOOTSTRAP))
    assert (found.n_scored, found.n_expected) == (7, 9)
    assert np.isnan(found.items).tolist() == [place in (1, 7) for place in range(9)]
    ours, other = (_scores([values[0], *values[2:]], [*HOLDOUT[:2], HOLDOUT[3]]) for values in (FORGET, theirs))
    assert found.value == _read(name, Evidence(ours, other, bootstrap=BOOTSTRAP)).value

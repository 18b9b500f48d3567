"""Numbers that are published or follow by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from pipelines.evaluation.statistics import Bootstrap
from pipelines.metrics import METRICS, Evidence, Reading
from pipelines.metrics.privleak import privleak
from pipelines.scoring.table import ModelScores, Variant
from tests.scored import Record, answer, generated, model_scores

PARTS = {
    "retain": (0.8545, 0.7724, 0.5117),
    "real_authors": (0.4297, 0.8195, 0.5522),
    "world_facts": (0.4310, 0.8308, 0.5963),
}
"""Probability, ROUGE and truth ratio of Llama-3.2-1B on TOFU; together a model utility of .6009."""


def _read(name: str, subject: ModelScores, reference: ModelScores | None = None) -> dict[str, Reading]:
    evidence = Evidence(subject, reference, bootstrap=Bootstrap(samples=200, confidence=0.95, seed=0))
    return {reading.split: reading for reading in METRICS[name].measure(evidence)}


def _with_parts() -> ModelScores:
    """Rows whose per-row values are exactly the published parts.

    1 - R = t needs NLL_wrong - NLL_paraphrase = -log(1 - t). A utility set's P / (P + P_wrong) = p with one wrong
    answer needs log P_wrong = log P + log((1 - p) / p), which fixes R against the answer; so t sets the paraphrase.
    """
    records: list[Record] = []
    generations = []
    for split, (probability, rouge, truth) in PARTS.items():
        right = math.log(probability) if split == "retain" else -1.0
        wrong = -3.0 if split == "retain" else right + math.log((1 - probability) / probability)
        paraphrase = wrong - math.log(1 - truth)
        for row in range(3):
            records += [
                answer(split, row, [right]),
                answer(split, row, [wrong], variant=Variant.PERTURBED_ANSWER),
                answer(split, row, [paraphrase], variant=Variant.PARAPHRASED_ANSWER),
            ]
            generations.append(generated(split, row, rouge=rouge))
    return model_scores(dict.fromkeys(PARTS, 3), records, generations)


def test_model_utility_of_the_published_parts() -> None:
    scores = _with_parts()
    for split, parts in PARTS.items():
        for name, part in zip(("probability", "rouge", "truth_ratio"), parts, strict=True):
            assert _read(name, scores)[split].value == pytest.approx(part, abs=1e-6)
    reading = _read("model_utility", scores)["utility"]
    assert reading.value == pytest.approx(0.6009, abs=5e-5)
    assert reading.n_expected == 27


@pytest.mark.parametrize(("auc", "reference", "leak"), [(0.339891, 0.382331, 6.871), (0.382331, 0.5, 23.53)])
def test_published_privleak(auc: float, reference: float, leak: float) -> None:
    """100 ((1 - .339891) - (1 - .382331)) / (1 - .382331) = 100 x .04244 / .617669 = 6.871."""
    assert float(privleak(np.array(auc), np.array(reference))) == pytest.approx(leak, abs=5e-3)


def _members(forget: list[float], holdout: list[float]) -> ModelScores:
    records = [answer("forget", i, [x]) for i, x in enumerate(forget)]
    records += [answer("holdout", i, [x]) for i, x in enumerate(holdout)]
    return model_scores({"forget": len(forget), "holdout": len(holdout)}, records)


def test_membership_by_hand() -> None:
    """Forget -1, -3 against holdout -2, -3: two wins, one tie: AUC 2.5 / 4. The reference: one tie, .5 / 4."""
    subject, reference = _members([-1.0, -3.0], [-2.0, -3.0]), _members([-2.0, -4.0], [-2.0, -1.0])
    assert _read("min_k", subject)["forget"].value == 2.5 / 4
    assert _read("membership_gap", subject, reference)["forget"].value == 2.5 / 4 - 0.5 / 4
    leak = _read("privleak", subject, reference)["forget"].value
    assert leak == pytest.approx(100 * ((1 - 2.5 / 4) - (1 - 0.5 / 4)) / (1 - 0.5 / 4))


def test_the_reference_has_no_gap_to_itself_in_any_resample() -> None:
    reference = _members([-1.0, -3.0, -2.0], [-2.0, -3.0, -1.0])
    reading = _read("membership_gap", reference, reference)["forget"]
    assert reading.interval is not None
    assert (reading.value, reading.interval.low, reading.interval.high) == (0.0, 0.0, 0.0)


def test_the_paired_gap_is_narrower_than_two_apart() -> None:
    """Two models with nearly the same scores: what the rows share cancels."""
    generator = np.random.default_rng(0)
    forget, holdout = generator.normal(-3, 1, 30), generator.normal(-3, 1, 50)
    subject = _members(forget.tolist(), holdout.tolist())
    moved = _members((forget - 0.05).tolist(), holdout.tolist())
    gap, auc = _read("membership_gap", subject, moved)["forget"], _read("min_k", subject)["forget"]
    assert gap.interval is not None
    assert auc.interval is not None
    assert gap.interval.high - gap.interval.low < 0.5 * (auc.interval.high - auc.interval.low)


def test_privleak_without_room_has_no_value() -> None:
    perfect = _members([-1.0, -1.5], [-2.0, -3.0])
    assert _read("privleak", perfect, perfect)["forget"].value is None


def _truths(ratios: list[float]) -> ModelScores:
    records: list[Record] = []
    for row, ratio in enumerate(ratios):
        records += [
            answer("forget", row, [-2.0], variant=Variant.PARAPHRASED_ANSWER),
            answer("forget", row, [-2.0 + math.log(ratio)], variant=Variant.PERTURBED_ANSWER),
        ]
    return model_scores({"forget": len(ratios)}, records)


def test_forget_quality_is_scipys_test_of_the_truth_ratios() -> None:
    generator = np.random.default_rng(3)
    ours, theirs = generator.lognormal(0.0, 1.0, 25), generator.lognormal(0.4, 1.0, 25)
    found = _read("forget_quality", _truths(ours.tolist()), _truths(theirs.tolist()))["forget"].value
    assert found == pytest.approx(float(stats.ks_2samp(ours, theirs).pvalue), rel=1e-9)
    same = _read("forget_quality", _truths(ours.tolist()), _truths(ours.tolist()))["forget"]
    assert same.value == 1.0
    assert same.interval is not None
    assert same.interval.high == 1.0


def test_truth_ratio_on_forget_is_closeness_to_one() -> None:
    """Min(R, 1/R) of 4 and 1/4 is 1/4 each; elsewhere max(0, 1 - R) of them is 0 and 3/4."""
    assert _read("truth_ratio", _truths([4.0, 0.25]))["forget"].value == pytest.approx(0.25, rel=1e-6)
    forget = _truths([4.0, 0.25])
    table = forget.answers.table
    retain = table.set_column(0, "split", [["retain"] * len(table)])
    moved = ModelScores("0", "d", {"retain": 2}, type(forget.answers)(retain), forget.generations)
    assert _read("truth_ratio", moved)["retain"].value == pytest.approx(0.375, rel=1e-6)


def test_model_utility_interval_is_the_harmonic_mean_of_resampled_means() -> None:
    generator = np.random.default_rng(0)
    records: list[Record] = []
    generations = []
    for row in range(12):
        right, wrong = -generator.exponential(0.5), -2.0 - generator.exponential()
        records += [answer("retain", row, [right]), answer("retain", row, [wrong], variant=Variant.PERTURBED_ANSWER)]
        generations.append(generated("retain", row, rouge=float(generator.uniform(0.5, 1))))
    scores = model_scores({"retain": 12}, records, generations)
    reading = _read("model_utility", scores)["utility"]
    items = reading.items.reshape(3, 12)
    counts = Bootstrap(samples=200, confidence=0.95, seed=0).counts("retain", 12)
    slow = [stats.hmean([np.repeat(part, count.astype(int)).mean() for part in items]) for count in counts]
    assert reading.interval is not None
    assert reading.interval.low == pytest.approx(np.quantile(slow, 0.025))
    assert reading.interval.high == pytest.approx(np.quantile(slow, 0.975))

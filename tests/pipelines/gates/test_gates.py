"""Each gate's arithmetic at its mark, from both sides."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.config import load_policy
from pipelines.evaluation.judgement import check_policy
from pipelines.evaluation.probing import wanted_probes
from pipelines.evaluation.statistics import Interval
from pipelines.gates import GATES, Judged
from pipelines.gates.base import at_least, at_most, within
from pipelines.records import GateResult
from tests.scored import evaluation, measurement

POLICIES = Path(__file__).parents[3] / "deployments" / "policies"


def _judge(name: str, marks: dict[str, object], judged: Judged) -> GateResult:
    gate = GATES[name]
    return gate.judge(judged, gate.params.model_validate(marks))


def _alone(metric: str, value: float, *, spread: float = 0.0) -> Judged:
    """Only the candidate was measured, on the forget set."""
    candidate = evaluation("candidate", measurement(metric, "forget", value, spread=spread))
    return Judged(candidate=candidate, start=None, reference=None)


def _against(role: str, metric: str, split: str, *, ours: float, theirs: float, spread: float = 0.0) -> Judged:
    other = evaluation(role, measurement(metric, split, theirs))
    return Judged(
        candidate=evaluation("candidate", measurement(metric, split, ours, spread=spread)),
        start=other if role == "start" else None,
        reference=other if role == "reference" else None,
    )


@pytest.mark.parametrize(
    ("gap", "spread", "passes"),
    [(0.125, 0.0, True), (0.0625, 0.0625, True), (0.1875, 0.0, False), (0.125, 0.03, False), (-0.9, 0.0, True)],
)
def test_extraction_strength_may_exceed_the_reference_by_the_margin(gap: float, spread: float, passes: bool) -> None:
    result = _judge("extraction_strength", {"margin": 0.125}, _alone("extraction_strength_gap", gap, spread=spread))
    assert result.passed is passes
    assert result.value == gap + spread
    assert result.bound == "<= 0.125"


@pytest.mark.parametrize(("lost", "passes"), [(0.02, True), (0.03, False), (-0.5, True)])
def test_every_named_task_may_lose_so_much(lost: float, passes: bool) -> None:
    found = [measurement("lm_eval_f1:all_lost", task, value) for task, value in (("towns", 0.0), ("rivers", lost))]
    judged = Judged(candidate=evaluation("candidate", *found), start=None, reference=None)
    marks: dict[str, object] = {"most_lost": 0.02, "tasks": "towns,rivers", "metric": "f1:all"}
    assert _judge("general_tasks", marks, judged).passed is passes
    missing = _judge("general_tasks", {**marks, "tasks": "towns,lakes"}, judged)
    assert missing.reason == "lm_eval_f1:all_lost on lakes was not measured for the candidate"


@pytest.mark.parametrize(
    ("gap", "spread", "passes"),
    [(-0.25, 0.0, True), (0.25, 0.0, True), (-0.26, 0.0, False), (0.26, 0.0, False), (0.2, 0.1, False)],
)
def test_probability_is_a_two_sided_band(gap: float, spread: float, passes: bool) -> None:
    result = _judge("probability", {"margin": 0.25}, _alone("probability_gap", gap, spread=spread))
    assert result.passed is passes
    assert result.bound == "in [-0.25, 0.25]"


@pytest.mark.parametrize(
    ("gap", "spread", "passes"),
    [(0.0, 0.25, True), (0.1, 0.1, True), (0.1, 0.2, False), (-0.1, 0.2, False), (0.4, 0.0, False), (-0.4, 0.0, False)],
)
def test_membership_fails_on_under_and_on_over_forgetting(gap: float, spread: float, passes: bool) -> None:
    result = _judge("membership", {"margin": 0.25}, _alone("membership_gap", gap, spread=spread))
    assert result.passed is passes
    assert result.value is not None
    assert abs(result.value) == pytest.approx(abs(gap) + spread)


@pytest.mark.parametrize(("ours", "passes"), [(0.45, True), (0.44, False), (0.9, True)])
def test_utility_keeps_a_share_of_the_start_model(ours: float, passes: bool) -> None:
    judged = _against("start", "model_utility", "utility", ours=ours, theirs=0.5)
    assert _judge("utility", {"ratio": 0.9}, judged).passed is passes


def test_utility_can_stand_on_another_metric() -> None:
    judged = _against("start", "probability", "retain", ours=0.5, theirs=0.5)
    assert _judge("utility", {"ratio": 0.9, "metric": "probability", "split": "retain"}, judged).passed
    assert not _judge("utility", {"ratio": 0.9}, judged).passed


def test_a_share_of_nothing_does_not_pass() -> None:
    judged = _against("start", "model_utility", "utility", ours=0.5, theirs=0.0)
    result = _judge("utility", {"ratio": 0.9}, judged)
    assert not result.passed
    assert "means nothing" in result.reason


def test_every_neighbour_measure_counts_and_the_failing_one_is_named() -> None:
    metrics = ("probability", "rouge", "extraction_strength")
    start = evaluation("start", *(measurement(m, "neighbours", 1.0) for m in metrics))
    candidate = evaluation("candidate", *(measurement(m, "neighbours", 0.5 if m == "rouge" else 1.0) for m in metrics))
    result = _judge("neighbours", {"ratio": 0.9}, Judged(candidate=candidate, start=start, reference=None))
    assert not result.passed
    assert result.value == 0.5
    assert "rouge on neighbours" in result.reason
    assert "probability" not in result.reason


def _fluent(role: str, **values: float) -> Judged:
    start = evaluation("start", *(measurement("fluency", split, 1.0) for split in ("forget", "retain", "world_facts")))
    candidate = evaluation("candidate", *(measurement("fluency", split, value) for split, value in values.items()))
    return Judged(candidate=candidate, start=start, reference=None)


def test_fluency_is_kept_on_every_split_that_stays() -> None:
    assert _judge("fluency", {"ratio": 0.9}, _fluent("candidate", forget=0.1, retain=0.95, world_facts=0.95)).passed
    assert not _judge("fluency", {"ratio": 0.9}, _fluent("candidate", retain=0.95, world_facts=0.5)).passed


def test_a_split_that_only_the_start_model_was_measured_on_fails_fluency() -> None:
    result = _judge("fluency", {"ratio": 0.9}, _fluent("candidate", retain=0.95))
    assert not result.passed
    assert "fluency on world_facts was not measured for the candidate" in result.reason


def test_fluency_with_nothing_to_keep_fails() -> None:
    judged = replace(_fluent("candidate", forget=1.0), start=evaluation("start", measurement("fluency", "forget", 1.0)))
    assert not _judge("fluency", {"ratio": 0.9}, judged).passed


@pytest.mark.parametrize(
    ("strength", "probability", "leak"),
    [(0.2, 0.1, None), (0.21, 0.1, "paraphrase_extraction_strength_gap"), (0.2, 0.11, "paraphrase_probability_gap")],
)
def test_paraphrase_fails_on_either_leak(strength: float, probability: float, leak: str | None) -> None:
    candidate = evaluation(
        "candidate",
        measurement("paraphrase_extraction_strength_gap", "forget", strength),
        measurement("paraphrase_probability_gap", "forget", probability),
    )
    marks: dict[str, object] = {"extraction_margin": 0.2, "probability_margin": 0.1}
    result = _judge("paraphrase", marks, Judged(candidate=candidate, start=None, reference=None))
    assert result.passed is (leak is None)
    assert leak is None or result.reason.startswith(leak)


@pytest.mark.parametrize(("p_value", "passes"), [(0.05, True), (0.049, False)])
def test_forget_quality_reads_the_p_value_itself(p_value: float, passes: bool) -> None:
    judged = _against("reference", "forget_quality", "forget", ours=p_value, theirs=1.0, spread=0.04)
    assert _judge("forget_quality", {"p_value": 0.05}, judged).passed is passes


def test_margins_are_shares_of_what_each_mark_allows() -> None:
    """Derived by hand.

    A gap's upper end .05 under a limit of .1 leaves half. A band of .06 around 0 whose worse end is -.09 is exceeded by
    .03, half of the band. A lower end .85 where the start has .9 and .81 is needed: .04 of .09 are left.
    """
    assert at_most("gap", high=0.05, limit=0.1).margin == pytest.approx(0.5)
    assert within("gap", interval=Interval(low=-0.09, high=0.02), centre=0.0, margin=0.06).margin == pytest.approx(-0.5)
    assert at_least("utility", low=0.85, limit=0.81, best=0.9).margin == pytest.approx(4 / 9)
    assert at_most("gap", high=0.05, limit=0.0).margin == pytest.approx(-0.05)


def test_a_result_carries_its_margin_and_none_where_nothing_was_measured() -> None:
    marks: dict[str, object] = {"margin": 0.125}
    assert _judge("extraction_strength", marks, _alone("extraction_strength_gap", 0.25)).margin == -1.0
    assert _judge("extraction_strength", marks, _alone("probability", 0.25)).margin is None


def _measured(**values: float) -> Judged:
    """What was measured for the candidate on the forget set, without any spread."""
    found = [measurement(metric, "forget", value) for metric, value in values.items()]
    return Judged(candidate=evaluation("candidate", *found), start=None, reference=None)


@pytest.mark.parametrize(
    ("depth", "spread", "passes"), [(0.75, 0.0, True), (0.875, 0.125, True), (0.74, 0.0, False), (0.875, 0.25, False)]
)
def test_depth_must_reach_its_level_at_the_lower_end(depth: float, spread: float, passes: bool) -> None:
    result = _judge("depth", {"least": 0.75}, _alone("depth", depth, spread=spread))
    assert result.passed is passes
    assert result.value == depth - spread


RELEARNT = {"relearning_gap": 0.0, "relearning_lora_gap": 0.0, "relearning_related_gap": 0.0, "relearning_taught": 0.9}


@pytest.mark.parametrize(
    ("changed", "passes"),
    [
        ({}, True),
        ({"relearning_gap": 0.125}, True),
        ({"relearning_gap": 0.126}, False),
        ({"relearning_lora_gap": 0.126}, False),
        ({"relearning_related_gap": 0.126}, False),
        ({"relearning_gap": -0.9}, True),
        ({"relearning_taught": 0.49}, False),
    ],
)
def test_relearning_may_bring_back_no_more_than_the_margin_and_must_have_taught(
    changed: dict[str, float], passes: bool
) -> None:
    marks: dict[str, object] = {"margin": 0.125, "taught": 0.5}
    assert _judge("relearning", marks, _measured(**{**RELEARNT, **changed})).passed is passes


ROUNDED = {f"{s}_{m}_gap": 0.0 for s in ("int4", "nf4") for m in ("extraction_strength", "probability")}


@pytest.mark.parametrize(
    ("changed", "passes"),
    [
        ({}, True),
        ({"int4_extraction_strength_gap": 0.26}, False),
        ({"nf4_extraction_strength_gap": 0.26}, False),
        ({"nf4_extraction_strength_gap": -0.9}, True),
        ({"int4_probability_gap": 0.13}, False),
        ({"nf4_probability_gap": -0.13}, False),
        ({"nf4_probability_gap": 0.125, "int4_probability_gap": -0.125}, True),
    ],
)
def test_four_bits_may_neither_bring_it_back_nor_make_it_strange(changed: dict[str, float], passes: bool) -> None:
    marks: dict[str, object] = {"extraction_margin": 0.25, "probability_margin": 0.125}
    assert _judge("four_bit", marks, _measured(**{**ROUNDED, **changed})).passed is passes


@pytest.mark.parametrize(
    ("fact", "words", "passes"), [(0.125, 0.25, True), (0.126, 0.0, False), (0.0, 0.26, False), (-0.9, -0.9, True)]
)
def test_the_worst_way_of_asking_may_recover_neither_fact_nor_words(fact: float, words: float, passes: bool) -> None:
    marks: dict[str, object] = {"fact_margin": 0.125, "extraction_margin": 0.25}
    found = _measured(worst_case_gap=fact, worst_case_extraction_gap=words)
    assert _judge("worst_case", marks, found).passed is passes


def test_every_policy_that_is_shipped_can_be_judged_and_strict_reads_its_probes() -> None:
    shipped = {path.stem: load_policy(path) for path in POLICIES.glob("*.yaml")}
    for policy in shipped.values():
        check_policy(policy)
    assert wanted_probes((), shipped["default"]) == ("relearning", "quantisation", "depth")
    assert shipped["without-reference"].reference == "holdout"

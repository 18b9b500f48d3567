"""The verdict fails closed, and the default policy is one that can be judged."""

from pathlib import Path

import pytest
import yaml

from pipelines.config import Policy, load_policy
from pipelines.errors import BadInput
from pipelines.evaluation.judgement import check_policy, judge
from pipelines.gates import GATES
from pipelines.records import Evaluation
from tests.scored import evaluation, measurement

DEFAULT = Path(__file__).parents[3] / "deployments" / "policies" / "default.yaml"


def _policy(**gates: dict[str, float | str]) -> Policy:
    return Policy(name="test", description="a test", gates=gates)


def _evaluations(gap: float | None = 0.0, utility: float = 0.5) -> tuple[Evaluation, ...]:
    def measured(role: str, first: float | None, second: float) -> Evaluation:
        return evaluation(
            role,
            measurement("extraction_strength_gap", "forget", first),
            measurement("model_utility", "utility", second),
        )

    return measured("start", 0.9, 0.5), measured("candidate", gap, utility), measured("reference", 0.0, 0.5)


BOTH = _policy(extraction_strength={"margin": 0.1}, utility={"ratio": 0.9})


def test_passes_only_if_every_gate_passes() -> None:
    verdict = judge(BOTH, _evaluations())
    assert verdict.passed
    assert [result.gate for result in verdict.gates] == ["extraction_strength", "utility"]
    assert verdict.policy_digest == BOTH.content_digest()
    assert verdict.reasons == ()


@pytest.mark.parametrize(("gap", "utility", "failed"), [(0.8, 0.5, "extraction_strength"), (0.0, 0.1, "utility")])
def test_one_failed_gate_refuses_and_is_named(gap: float, utility: float, failed: str) -> None:
    verdict = judge(BOTH, _evaluations(gap, utility))
    assert not verdict.passed
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(f"{failed}: ")


def test_a_gate_that_finds_nothing_refuses() -> None:
    verdict = judge(_policy(membership={"margin": 0.9}), _evaluations())
    assert not verdict.passed
    assert verdict.reasons == ("membership: membership_gap on forget was not measured for the candidate",)


def test_without_start_or_reference_the_gates_that_need_them_refuse() -> None:
    verdict = judge(BOTH, [_evaluations(gap=None)[1]])
    assert verdict.reasons == (
        "extraction_strength: extraction_strength_gap on forget of the candidate has no value",
        "utility: no start model was measured",
    )


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ({"speed": {}}, r"unknown gate 'speed'; known: extraction_strength, "),
        ({"utility": {}}, r"policy test, gate utility: ratio: Field required"),
        ({"utility": {"ratio": 1.5}}, r"gate utility: ratio: .*less than or equal to 1"),
        ({"utility": {"ratio": 0.9, "rato": 1}}, r"gate utility: rato: .*known: source, ratio, metric, split"),
    ],
)
def test_a_policy_that_cannot_be_judged_is_bad_input(gates: dict[str, dict[str, float | str]], message: str) -> None:
    for check in (check_policy, lambda policy: judge(policy, _evaluations())):
        with pytest.raises(BadInput, match=message):
            check(_policy(**gates))


def test_a_policy_without_gates_is_refused_even_if_it_was_never_validated() -> None:
    empty = Policy.model_construct(name="none", description="", gates={})
    with pytest.raises(BadInput, match="policy none: no gates"):
        judge(empty, _evaluations())


def test_no_candidate_and_two_of_a_role_are_bad_input() -> None:
    start, candidate, reference = _evaluations()
    with pytest.raises(BadInput, match="no evaluation of a candidate"):
        judge(BOTH, [start, reference])
    with pytest.raises(BadInput, match="two evaluations of one role"):
        judge(BOTH, [candidate, candidate])


def test_the_default_policy_can_be_judged_and_guards_every_side() -> None:
    policy = Policy.model_validate(yaml.safe_load(DEFAULT.read_text()))
    check_policy(policy)
    assert set(policy.gates) >= {"extraction_strength", "membership", "paraphrase", "utility", "neighbours", "fluency"}
    assert set(policy.gates) <= set(GATES)


@pytest.mark.parametrize("path", sorted(DEFAULT.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_policy_that_is_shipped_can_be_judged_and_says_where_each_mark_comes_from(path: Path) -> None:
    policy = load_policy(path)
    check_policy(policy)
    for name, marks in policy.gates.items():
        assert len(str(marks.get("source", ""))) > 20, name


def test_a_verdict_names_the_measurements_that_it_stands_on() -> None:
    strength, utility = judge(BOTH, _evaluations()).gates
    assert set(strength.measurements) == {"candidate/forget/extraction_strength_gap"}
    assert set(utility.measurements) == {"candidate/utility/model_utility", "start/utility/model_utility"}

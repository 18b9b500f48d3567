"""The verdict on one candidate under one policy: every gate of the policy must be known, measured and passed.

Promises: fails closed. A policy without gates, with an unknown gate or with a wrong mark is refused as input; a gate
    that finds no complete measurement fails and says which. Nothing is weighed against anything: one failed gate
    refuses the candidate.
"""

from collections.abc import Sequence

from pipelines.config import Policy, validated
from pipelines.errors import BadInput
from pipelines.gates import GATES, Judged
from pipelines.records import Evaluation, GateResult, Verdict


def check_policy(policy: Policy) -> None:
    """Refuse a policy that could not be judged; called before any training as well.

    Raises:
        BadInput: no gate, an unknown gate, or a mark that is missing, unknown or out of range.
    """
    if not policy.gates:
        raise BadInput(f"policy {policy.name}: no gates; at least one is needed")
    for name, marks in policy.gates.items():
        validated(GATES.require(name).params, marks, where=f"policy {policy.name}, gate {name}")


def judge(policy: Policy, evaluations: Sequence[Evaluation]) -> Verdict:
    """Judge a candidate.

    Args:
        policy: the gates and their marks.
        evaluations: of the candidate, and of the start model and the reference where there are any; one per role.

    Raises:
        BadInput: as :func:`check_policy`; no candidate; two evaluations of one role.
    """
    check_policy(policy)
    judged = _by_role(evaluations)
    results = tuple(_result(policy, name, judged) for name in policy.gates)
    reasons = tuple(f"{result.gate}: {result.reason}" for result in results if not result.passed)
    return Verdict(passed=not reasons, policy_digest=policy.content_digest(), gates=results, reasons=reasons)


def _by_role(evaluations: Sequence[Evaluation]) -> Judged:
    found = {evaluation.role: evaluation for evaluation in evaluations}
    if len(found) != len(evaluations):
        raise BadInput("judgement: two evaluations of one role; give at most one each of start, candidate, reference")
    if "candidate" not in found:
        raise BadInput("judgement: no evaluation of a candidate; there is nothing to judge")
    return Judged(candidate=found["candidate"], start=found.get("start"), reference=found.get("reference"))


def _result(policy: Policy, name: str, judged: Judged) -> GateResult:
    gate = GATES.require(name)
    return gate.judge(judged, validated(gate.params, policy.gates[name], where=f"policy {policy.name}, gate {name}"))

"""The verdict: the policy that was sealed before training, applied to what was measured; fails closed."""

from pathlib import Path

from pipelines.evaluation.judgement import judge as apply_policy
from pipelines.records import Evaluation, Verdict
from tasks.artifacts import show_table
from tasks.progress import Progress
from tasks.stage import stage
from tasks.workspace import RunContext, Workspace, write_record


@stage("judge", retries=0)
def judge(run: RunContext, refusal: str | None, evaluations: tuple[Evaluation, ...]) -> Verdict:
    """Judge the candidate, or record why there is none.

    Args:
        run: the run.
        refusal: why the run ended before a candidate could be measured, or None.
        evaluations: of start model, candidate and, where there is one, reference.
    """
    ws = Workspace.of(run)
    policy = run.policy
    if refusal is None:
        verdict = apply_policy(policy, evaluations)
    else:
        verdict = Verdict(passed=False, policy_digest=policy.content_digest(), gates=(), reasons=(refusal,))

    def build(part: Path) -> None:
        write_record(part, "verdict", verdict)
        ws.tell({"kind": "verdict", "passed": verdict.passed, "policy": verdict.policy_digest})

    ws.step("judge", {"verdict": verdict.plain()}, build)
    rows = [(gate.gate, gate.passed, gate.value, gate.bound, gate.reason) for gate in verdict.gates]
    show_table("judge", ("gate", "passed", "value", "bound", "reason"), rows)
    Progress("judge")(1, 1, "passed" if verdict.passed else f"refused: {len(verdict.reasons)} reasons")
    return verdict

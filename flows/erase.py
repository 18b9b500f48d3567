"""The way of one request, from intake to report.

Stages: intake, attribution, scope, quality, seal, unlearn, evaluate, judge, certify, register, report.

Run it again after a kill and it resumes at the first incomplete step; run it again after it has ended and it checks
and reuses everything. A refusal walks the same way: nothing is registered, the refusal is signed, logged and
reported. No text of a forget set is a parameter, a result or a name here: tasks pass references and digests.
"""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field
from tasks.attribution import attribute
from tasks.certificate import certify
from tasks.judgement import judge
from tasks.outcome import Outcome, conclude
from tasks.quality import check_sets
from tasks.registry import register
from tasks.report import report
from tasks.scope import draw_scope
from tasks.unlearning import export, reference_statistics, train

from pipelines.config import RunConfig
from pipelines.records import Record, RequestId
from tasks.intake import take_in
from tasks.seal import seal
from tasks.workspace import RunContext, only_one, open_run


class RequestReference(Record):
    """Where a request is; what it says stays out of parameters."""

    id: RequestId = Field(title="Request id", description="Opaque name of the request, for example REQ-2026-0001.")
    path: str = Field(title="Request file", description="YAML file with the request, readable by the worker.")


@flow(name="erase", flow_run_name="{request.id}", persist_result=False, log_prints=False)
def erase(
    request: RequestReference,
    config: RunConfig,
    policy: str = "deployments/policies/default.yaml",
    home: str | None = None,
) -> Outcome | State[Outcome]:
    """Carry one erasure request to a registered, signed model version, or to a signed refusal.

    Args:
        request: Which request, and where its file is.
        config: What is done, with what.
        policy: File with the pass marks; its digest is logged before training.
        home: Folder under which everything is written; $LETHE_HOME or ./.lethe when empty.
    """
    run = open_run(request.id, request.path, config=config, policy=policy, home=home)
    with only_one(run):
        outcome = _walk(run)
    if outcome.registered:
        return outcome
    return Completed(name="Refused", message="; ".join(outcome.reasons), data=outcome)


def _walk(run: RunContext) -> Outcome:
    asked = take_in(run)
    scope = draw_scope(run, attribute(run))
    quality = check_sets(run, scope)
    sealed = seal(run)
    refusal = quality.refusal or _unlearn(run)
    verdict = judge(run, refusal, *([] if refusal else _evaluate(run)))
    certificate = certify(run, asked, sealed, verdict)
    version = register(run, certificate) if verdict.passed else None
    return conclude(run, verdict, certificate, version, report(run, certificate, version))


def _unlearn(run: RunContext) -> str | None:
    reference_statistics(run)
    failure = train(run)
    if failure is None:
        export(run)
    return failure

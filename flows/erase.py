"""The way of one request, from intake to report.

Stages: intake, attribution, scope, quality, seal, unlearn; then the evaluator, who runs apart (:mod:`flows.assess`),
measures, judges and certifies; then what was signed is verified, registered and reported. Run it again after a kill and
it resumes at the first incomplete step; run it again after it has ended and it checks and reuses everything. A refusal
walks the same way: nothing is registered, the refusal is signed, logged and reported. No text of a forget set is a
parameter, a result or a name here, and no evaluator's key is opened: tasks pass references and digests.
"""

from typing import cast

from prefect import flow
from prefect.states import Completed
from pydantic import Field

from pipelines.config import RunConfig
from pipelines.records import Candidate, Record, RequestId
from tasks.attribution import attribute
from tasks.evaluator import PROCESS, hand_over
from tasks.filtering import filter_rows
from tasks.intake import take_in
from tasks.outcome import Outcome
from tasks.quality import check_sets
from tasks.registry import register
from tasks.report import conclude
from tasks.scope import draw_scope
from tasks.seal import seal
from tasks.signed import read_signed
from tasks.unlearning import export, reference_statistics, train
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
    evaluator: str = PROCESS,
) -> Outcome:
    """Carry one erasure request to a registered, signed model version, or to a signed refusal.

    Args:
        request: Which request, and where its file is.
        config: What is done, with what.
        policy: File with the pass marks; its digest is logged before training.
        home: Folder under which everything is written; $LETHE_HOME or ./.lethe when empty.
        evaluator: Who measures and signs. 'process' starts a process here; else the deployment of the flow assess, as
            flow/deployment, whose workers hold the evaluator's key.
    """
    run = open_run(request.id, request.path, config=config, policy=policy, home=home)
    with only_one(run):
        outcome = _walk(run, evaluator)
    if outcome.registered:
        return outcome
    # A state that a flow returns becomes the run's state, and its data what the caller gets.
    return cast("Outcome", Completed(name="Refused", message="; ".join(outcome.reasons), data=outcome))


def _walk(run: RunContext, evaluator: str) -> Outcome:
    take_in(run)
    scope = draw_scope(run, attribute(run))
    refusal = check_sets(run, scope)
    seal(run)
    candidate = None
    if refusal is None:
        candidate, refusal = _unlearn(run)
    hand_over(run, evaluator, refusal)
    found = read_signed(run, candidate)
    passed = candidate if found.certified.passed else None
    version = register(run, passed, found.evaluations, found.certified) if passed else None
    return conclude(
        run,
        candidate=candidate,
        evaluations=found.evaluations,
        verdict=found.verdict,
        certified=found.certified,
        version=version,
    )


def _unlearn(run: RunContext) -> tuple[Candidate | None, str | None]:
    filter_rows(run)
    reference_statistics(run)
    failure = train(run)
    return (None, failure) if failure else (export(run), None)

"""Signs what was found: a certificate if the policy holds, a refusal if not.

The evaluator's key is read here and nowhere else, in the evaluator's own process. The candidate's folder is hashed
again and the sealed sets are computed again from the vault, so that the statement speaks of what is on disk now and not
of what an earlier stage said.
"""

from datetime import UTC, datetime
from pathlib import Path

from pipelines.audit.bundle import Locations, issue
from pipelines.audit.canonical import digest, sha256_file
from pipelines.audit.encoding import write_atomic
from pipelines.audit.keys import load_private_key
from pipelines.audit.label import label_for
from pipelines.audit.manifest import folder_digest
from pipelines.audit.records import CodeRecord, GateRecord, Interval, MethodRecord, MetricRecord, ModelRecord, SetRecord
from pipelines.audit.statement import Evidence, build_certificate, build_refusal
from pipelines.errors import VerificationFailed
from pipelines.methods import METHODS
from pipelines.provenance import code_commit, code_digest, lock_digest
from pipelines.records import Candidate, Digest, Evaluation, Measurement, Record, Verdict
from tasks.artifacts import show_note
from tasks.filtering import said as filter_said
from tasks.intake import taken_in
from tasks.keys import EVALUATOR, keyring
from tasks.lineage import earlier
from tasks.seal import SealedSets, seal_of, sealed_sets
from tasks.shadows import reference_of
from tasks.stage import stage
from tasks.surrogate import stands_in
from tasks.workspace import ORIGIN, RunContext, Workspace

FILE = "certificate.json"
PROBED = {
    "relearning": "relearning: whether a few steps on part of the forget set bring the rest back",
    "int4_extraction_strength": "quantisation: whether a lower precision of the weights brings answers back",
    "depth": "depth: whether inner layers still hold what the output no longer says",
    "worst_case": "adversarial prompts: whether another way of asking brings answers back",
}
"""A probe's measure, and what is not known without it."""
LIMITS = (
    "The figures describe these digests, this data and these attacks; they do not show that the data is gone.",
    "A forget-quality p-value compares two models on few rows; it is no proof of erasure.",
    "Copies outside the folder that holds this file, and models made from the start model before, are not covered.",
)


class Certified(Record):
    """Where the signed statement is, and what it says."""

    path: str
    digest: Digest
    passed: bool


@stage("certify", retries=0)
def certify(
    run: RunContext, verdict: Verdict, candidate: Candidate | None, evaluations: tuple[Evaluation, ...]
) -> Certified:
    """Sign the certificate or the refusal, enter it in the log, and write the file that anybody can check.

    Raises:
        VerificationFailed: a model or a set on disk is not the one that was measured or sealed.
    """
    ws = Workspace.of(run)
    keyring(ws.home, roles=EVALUATOR)  # made on first use, and valid from then on: before the statement names its time
    check_disk(ws, candidate)
    inputs = {
        "verdict": verdict.plain(),
        "candidate": candidate.plain() if candidate else None,
        "evaluations": [evaluation.plain() for evaluation in evaluations],
    }

    def build(part: Path) -> None:
        payload = part / "statement.json"
        if not payload.exists():  # an interrupted try keeps its statement, so that the log gets one entry
            write_atomic(payload, _statement(ws, verdict, candidate, evaluations))
        write_atomic(part / FILE, _issued(ws, payload.read_bytes(), candidate))

    folder = ws.step("certify", inputs, build)
    kind = "certificate" if verdict.passed else "refusal"
    show_note("certify", f"# Signed {kind}\n- statement: `{_statement_digest(folder)}`\n- file: `{folder / FILE}`")
    return Certified(path=str(folder / FILE), digest=_statement_digest(folder), passed=verdict.passed)


def _statement_digest(folder: Path) -> Digest:
    return sha256_file(folder / "statement.json")


def check_disk(ws: Workspace, candidate: Candidate | None) -> None:
    """Models and sets lie on disk as they were measured and sealed.

    Raises:
        VerificationFailed: one of them does not.
    """
    inputs, sealed = taken_in(ws), sealed_sets(ws)
    refs = {"start": inputs.model, "reference": reference_of(ws) if candidate else inputs.reference}
    refs["candidate"] = candidate.model if candidate else None
    for role, ref in refs.items():
        if ref is not None and folder_digest(Path(ref.path)) != ref.digest:
            raise VerificationFailed(f"the {role} model at {ref.path} is not the one that was measured")
    if SealedSets(forget=seal_of(ws, "forget"), retain=seal_of(ws, "retain")) != sealed:
        raise VerificationFailed("the sets in the vault are not the ones that were sealed")


def _issued(ws: Workspace, payload: bytes, candidate: Candidate | None) -> bytes:
    keys = keyring(ws.home, roles=EVALUATOR)
    return issue(
        payload,
        evaluator_key=load_private_key(keys.private("evaluator")),
        log=ws.log,
        log_key=load_private_key(keys.private("log")),
        locations=Locations(log="../../../log", model="../unlearn/model" if candidate else None),
    )


def not_measured(evaluations: tuple[Evaluation, ...]) -> tuple[str, ...]:
    """What nobody looked for in the candidate; a measure without a value looked for nothing."""
    candidate = (m for e in evaluations if e.role == "candidate" for m in e.measurements)
    found = {m.metric for m in candidate if m.value is not None}
    return (*(line for metric, line in PROBED.items() if metric not in found), "other languages")


def _statement(
    ws: Workspace, verdict: Verdict, candidate: Candidate | None, evaluations: tuple[Evaluation, ...]
) -> bytes:
    inputs, sealed, name = taken_in(ws), sealed_sets(ws), ws.run.config.registered_name
    evidence = Evidence(
        request=ws.keyed({"request": ws.run.request_id}),
        forget=SetRecord(sealed.forget.commitment, sealed.forget.count),
        retain=SetRecord(sealed.retain.commitment, sealed.retain.count),
        base=ModelRecord(f"{name}.start", "given", inputs.model.digest),
        candidate=ModelRecord(name, ws.run.request_id, candidate.model.digest, candidate.parent_digest)
        if candidate
        else None,
        reference=_reference(ws, candidate),
        method=_method(ws),
        code=CodeRecord(commit=f"{code_commit()}/{code_digest()}", lock_digest=lock_digest()),
        config_digest=ws.run.config.content_digest(),
        policy_digest=verdict.policy_digest,
        metrics=tuple(metric_record(e.role, m) for e in evaluations for m in e.measurements),
        gates=tuple(GateRecord(gate.gate, gate.passed, gate.measurements) for gate in verdict.gates),
        approvals=(),
        measured=_measured(evaluations),
        not_measured=(*not_measured(evaluations), *earlier(ws).not_measured),
        limits=(*LIMITS, *stands_in(ws.run), *filter_said(ws), *_labelled(ws)),
        log_origin=ORIGIN,
        issued=datetime.now(UTC).replace(microsecond=0),
    )
    return build_certificate(evidence) if verdict.passed else build_refusal(evidence, reasons=verdict.reasons)


def _reference(ws: Workspace, candidate: Candidate | None) -> ModelRecord | None:
    """The model that stood for one that never saw the forget set; no shadow is made where nothing was measured."""
    inputs, name = taken_in(ws), f"{ws.run.config.registered_name}.reference"
    if inputs.reference is not None:
        return ModelRecord(name, "given", inputs.reference.digest)
    shadow = reference_of(ws) if candidate else None
    return ModelRecord(name, "shadow", shadow.digest, inputs.base.digest if inputs.base else None) if shadow else None


def _labelled(ws: Workspace) -> tuple[str, ...]:
    label = label_for(ws.run.config.method)
    return (f"{label.capitalize()}: whoever has the weights has what was to be forgotten.",) if label else ()


def _method(ws: Workspace) -> MethodRecord:
    method = METHODS.require(ws.run.config.method)
    config = ws.run.config
    settings = {
        "params": config.method_params().model_dump(mode="json"),
        "training": config.training.plain(),
        "seed": config.seed,
    }
    return MethodRecord(
        method.name, method.version, digest({**settings, "lora": config.lora.plain() if config.lora else None})
    )


def metric_record(role: str, m: Measurement) -> MetricRecord:
    """A measurement as it stands in a statement."""
    interval = None if m.low is None or m.high is None else Interval(m.low, m.high)
    return MetricRecord(
        f"{role}/{m.split}/{m.metric}", m.version, m.value, interval, m.n_scored, m.n_expected, m.items_digest
    )


def _measured(evaluations: tuple[Evaluation, ...]) -> tuple[str, ...]:
    names = sorted({m.metric for e in evaluations for m in e.measurements})
    by = {name: [e.role for e in evaluations if name in {m.metric for m in e.measurements}] for name in names}
    return tuple(f"{name} of {', '.join(roles)}, with intervals" for name, roles in by.items()) or (
        "nothing: the run ended before a model was measured",
    )

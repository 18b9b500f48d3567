"""A second request on a model that has already forgotten: what is not taught again, and what is measured again."""

import json

import pytest

from flows.erase import RequestReference, erase
from pipelines.audit.log import AuditLog
from pipelines.config import load_config
from pipelines.data.load import load_rows
from pipelines.errors import VerificationFailed
from pipelines.home import Home
from pipelines.records import Evaluation, Verdict
from pipelines.scope.build import Scope
from tasks.lineage import earlier, lineage
from tasks.outcome import Outcome
from tasks.past_runs import views_of
from tasks.workspace import ORIGIN, Workspace, open_run, read_record
from tests.flows.company import REQUEST, Company, write_rows
from tests.tiny import tiny_rows

pytestmark = pytest.mark.usefixtures("prefect_says_nothing")

SECOND = "REQ-TEST-2"
FIRST_ROWS, SECOND_ROWS = (0, 1, 2, 3), (4, 5)


def _erase(company: Company, name: str) -> Outcome:
    reference = RequestReference(id=name, path=str(company.request))
    return erase(reference, load_config(company.config), str(company.policy), str(company.home))


def _ask_again(company: Company) -> None:
    """A second request, for two further rows, on the first one's candidate and with the same training file."""
    write_rows(company.root / "second.jsonl", tiny_rows(len(SECOND_ROWS), first=4))
    company.set_request(id=SECOND, selector={"rows": str(company.root / "second.jsonl")})
    company.set_config(model=str(company.home / "runs" / REQUEST / "unlearn" / "model"))


def _workspace(company: Company, name: str) -> Workspace:
    config = load_config(company.config)
    run = open_run(name, str(company.request), config=config, policy=str(company.policy), home=str(company.home))
    return Workspace.of(run)


@pytest.mark.slow
def test_old_deletions_are_kept_out_and_measured_again(quick: Company) -> None:
    company = quick
    first = _erase(company, REQUEST)
    _ask_again(company)
    second = _erase(company, SECOND)
    assert first.registered
    assert second.registered
    runs, vault = company.home / "runs" / SECOND, company.home / "vault" / SECOND / "steps"
    scope = read_record(runs / "scope", "scope", Scope)
    assert (scope.earlier, scope.forget_rows) == (FIRST_ROWS, SECOND_ROWS)
    retain = load_rows(str(vault / "sets" / "retain.jsonl"), name="retain")
    gone = {row.digest for row in tiny_rows(6)}
    assert len(retain) == 10
    assert gone.isdisjoint(retain.digests)
    for role in ("start", "candidate", "reference"):
        measured = read_record(runs / f"evaluate-{role}", "evaluation", Evaluation).find(
            "extraction_strength_gap", "earlier_1"
        )
        assert measured is not None
        assert measured.n_scored == len(FIRST_ROWS)
    verdict = read_record(runs / "judge", "verdict", Verdict)
    [gate] = verdict.gates
    assert gate.measurements == (
        "candidate/forget/extraction_strength_gap",
        "candidate/earlier_1/extraction_strength_gap",
    )
    _check_lineage(company, second)
    _check_sustainability(company)
    _check_the_vault(company)


def _check_lineage(company: Company, second: Outcome) -> None:
    log = AuditLog(company.home / "log", origin=ORIGIN)
    assert second.candidate_digest is not None
    assert lineage(log, second.candidate_digest) == (REQUEST, SECOND)
    assert lineage(log, "0" * 64) == ()


def _check_sustainability(company: Company) -> None:
    """Both requests are on MUSE's curve, and what the first one had removed is followed."""
    [view] = [view for view in views_of(Home.at(company.home), SECOND) if view.name == "sustainability"]
    points = {curve.name: [(point.request_id, point.x) for point in curve.points] for curve in view.curves}
    assert points == {
        "retain": [(REQUEST, 1), (SECOND, 2)],
        "forget": [(REQUEST, 1), (SECOND, 2)],
        "earlier": [(SECOND, 2)],
    }
    assert view.missing == ""


def _check_the_vault(company: Company) -> None:
    """Another set under the first request's name is refused; none at all is said in the certificate."""
    ws = _workspace(company, SECOND)
    assert list(earlier(ws).sets) == ["earlier_1"]
    assert earlier(ws).not_measured == ()
    sealed = company.home / "vault" / REQUEST / "steps" / "sets" / "forget.jsonl"
    honest = sealed.read_bytes()
    sealed.write_bytes(b"".join(honest.splitlines(keepends=True)[1:]))
    with pytest.raises(VerificationFailed, match="not the one that was sealed"):
        earlier(ws)
    sealed.unlink()
    assert earlier(ws).sets == {}
    [said] = earlier(ws).not_measured
    assert "1 earlier requests" in said
    text = json.dumps([dict(line.entry) for line in ws.log.lines()])
    assert not any(row.answer in text for row in tiny_rows(6))

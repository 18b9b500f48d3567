"""The filter in a whole run: recorded, logged, in the certificate's words, measured all the same."""

import base64
import json
from pathlib import Path

import pytest

from flows.erase import RequestReference, erase
from pipelines.config import load_config
from pipelines.errors import BadInput, VerificationFailed
from pipelines.records import Evaluation
from pipelines.scope.unneeded import Filtered
from tasks.filtering import said
from tasks.workspace import Workspace, open_run, read_record
from tests.flows.company import REQUEST, Company, write_rows
from tests.tiny import tiny_rows

pytestmark = pytest.mark.usefixtures("prefect_says_nothing")


@pytest.fixture
def with_twins(quick: Company) -> Company:
    """Rows 0 to 3 are to be forgotten; twins of rows 1 and 2 stay in the training data."""
    rows = list(tiny_rows(16))
    twins = [type(row)(question=row.question, answer=f"{row.answer} Yes.") for row in rows[1:3]]
    write_rows(quick.root / "train.jsonl", [*rows, *twins])
    scope = {"neighbours": 4, "additions": "propose", "filter": "twins", "filter_similarity": 0.7}
    quick.set_config(scope=scope)
    return quick


def _statement(certificate: Path) -> str:
    bundle = json.loads(certificate.read_bytes())
    return base64.b64decode(_payload(bundle)).decode()


def _payload(value: object) -> str:
    if isinstance(value, dict):
        if isinstance(value.get("payload"), str):
            return str(value["payload"])
        return next((hit for hit in map(_payload, value.values()) if hit), "")
    return ""


@pytest.mark.slow
def test_twins_are_skipped_said_and_measured(with_twins: Company) -> None:
    company = with_twins
    config = load_config(company.config)
    outcome = erase(
        RequestReference(id=REQUEST, path=str(company.request)), config, str(company.policy), str(company.home)
    )
    assert outcome.registered
    run = company.home / "runs" / REQUEST
    record = read_record(run / "filter", "filter", Filtered)
    assert record.positions == (1, 2)
    entries = [json.loads(line)["entry"] for line in (company.home / "log" / "entries.jsonl").read_text().splitlines()]
    [logged] = [entry for entry in entries if entry["kind"] == "filter"]
    assert (logged["skipped"], logged["forget"]) == (2, 4)
    assert "2 of 4 forget rows were measured but not pushed (filter twins" in _statement(Path(outcome.certificate))
    assert record.content_digest() in _statement(Path(outcome.certificate))
    measured = read_record(run / "evaluate-candidate", "evaluation", Evaluation).find("probability", "forget")
    assert measured is not None
    assert measured.n_scored == 4
    ws = Workspace.of(
        open_run(REQUEST, str(company.request), config=config, policy=str(company.policy), home=str(company.home))
    )
    file = run / "filter" / "filter.json"
    file.write_bytes(file.read_bytes().replace(b'"row":2', b'"row":3'))
    with pytest.raises(VerificationFailed, match="not the one that was logged"):
        said(ws)


def test_a_rule_that_needs_validation_rows_is_refused_without_them(company: Company) -> None:
    company.set_config(validation=None, scope={"filter": "either"})
    reference = RequestReference(id=REQUEST, path=str(company.request))
    with pytest.raises(BadInput, match=r"scope\.filter: 'either' compares with validation rows"):
        erase(reference, load_config(company.config), str(company.policy), str(company.home))

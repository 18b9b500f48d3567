"""Separation of duties: who trains opens no evaluator's key, who measures trusts nothing but the log and the bytes."""

import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

import tasks.evaluator
from pipelines.audit import dsse
from pipelines.audit.keys import generate_key, load_private_key
from pipelines.audit.trust import Trust
from pipelines.audit.verify import verify_certificate
from pipelines.errors import BadInput, VerificationFailed
from pipelines.home import Home
from tasks.assessment import candidate_of, sealed_run
from tasks.evaluator import Assessment
from tasks.exports import FORMATS, export_as
from tasks.purge import purge
from tasks.signed import read_signed
from tasks.stage import StageFailed
from tasks.workspace import ASSESSING, RunContext, held
from tests.flows.company import REQUEST, Company

NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")
def test_another_user_cannot_read_the_evaluators_key() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for role in ("evaluator", "log"):
            generate_key(folder / f"{role}.pem")
        os.chown(folder / "log.pem", NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            load_private_key(folder / "log.pem")
            with pytest.raises(BadInput, match="Permission denied"):
                load_private_key(folder / "evaluator.pem")
        finally:
            os.seteuid(0)


def _public(company: Company) -> Path:
    return company.home / "runs" / REQUEST


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _sealed(company: Company) -> RunContext:
    return sealed_run(str(company.home), REQUEST)


def test_an_honest_run_is_sealed_and_signed(ended: Company) -> None:
    context = _sealed(ended)
    candidate = candidate_of.fn(context)
    assessed = read_signed.fn(context, candidate)
    assert assessed.certified.passed
    assert {evaluation.role for evaluation in assessed.evaluations} == {"start", "candidate", "reference"}


def test_the_evidence_archive_verifies_alone_and_exports_are_there(ended: Company, tmp_path: Path) -> None:
    """In a folder that holds the archive and the trust file only."""
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(ended.home / "keys" / "trust.json", alone)
    home = Home.at(ended.home)
    for form in FORMATS:
        (alone / form).write_bytes(export_as(home, REQUEST, form))
    trust = Trust.load(alone / "trust.json")
    report = verify_certificate(alone / "evidence", trust=trust, now=datetime.now(UTC))
    assert report.certifies, report.to_text()
    said = dsse.verify(json.loads((alone / "svr").read_bytes()), trust=trust, role="evaluator", at=datetime.now(UTC))
    assert b"LETHE_GATE_EXTRACTION_STRENGTH" in said
    assert json.loads((alone / "cyclonedx").read_bytes())["metadata"]["component"]["modelCard"]
    kinds = [json.loads(line)["eventType"] for line in (alone / "openlineage").read_text().splitlines()]
    assert (kinds[0], kinds[-1]) == ("START", "COMPLETE")
    with pytest.raises(BadInput, match="known: cyclonedx, evidence, openlineage, svr"):
        export_as(home, REQUEST, "spdx")


def _measurement(company: Company) -> None:
    _edit(_public(company) / "evaluate-candidate" / "evaluation.json", '"n_scored":4', '"n_scored":3')


def _verdict(company: Company) -> None:
    _edit(_public(company) / "judge" / "verdict.json", '"passed":true', '"passed":false')


def _certificate(company: Company) -> None:
    _edit(_public(company) / "certify" / "certificate.json", '"index":', '"index":1')


def _another_evaluator(company: Company) -> None:
    """The trust file forgets the key that signed."""
    trust = json.loads((company.home / "keys" / "trust.json").read_text())
    trust["keys"] = [key for key in trust["keys"] if key["role"] != "evaluator"]
    from pipelines.audit.canonical import canonical

    (company.home / "keys" / "trust.json").write_bytes(canonical(trust))


def _sealed_sets(company: Company) -> None:
    path = _public(company) / "seal" / "sealed.json"
    sealed = json.loads(path.read_text())
    sealed["forget"], sealed["retain"] = (
        {**sealed["forget"], "commitment": sealed["retain"]["commitment"]},
        sealed["retain"],
    )
    path.write_text(json.dumps(sealed, sort_keys=True, separators=(",", ":")))


@pytest.mark.parametrize("spoil", [_measurement, _verdict, _certificate, _another_evaluator, _sealed_sets])
def test_nothing_beside_the_certificate_is_taken_on_its_word(ended: Company, spoil: Callable[[Company], None]) -> None:
    context = _sealed(ended)
    candidate = candidate_of.fn(context)
    spoil(ended)
    with pytest.raises((VerificationFailed, BadInput)):
        read_signed.fn(context, candidate)


@pytest.mark.parametrize("field", ["policy", "config"])
def test_settings_that_were_not_sealed_are_refused(ended: Company, field: str) -> None:
    old, new = {"policy": ('"name":"test"', '"name":"mild"'), "config": ('"seed":0', '"seed":1')}[field]
    _edit(_public(ended) / "intake" / f"{field}.json", old, new)
    with pytest.raises(VerificationFailed, match="holds no seal over these"):
        _sealed(ended)


def test_a_candidate_that_is_not_the_logged_one_is_not_measured(ended: Company) -> None:
    context = _sealed(ended)
    path = _public(ended) / "unlearn" / "candidate.json"
    start = json.loads((_public(ended) / "intake" / "inputs.json").read_text())["model"]
    made = json.loads(path.read_text())
    path.write_text(json.dumps({**made, "model": start}, sort_keys=True, separators=(",", ":")))
    with pytest.raises(VerificationFailed, match="the log does not hold it"):
        candidate_of.fn(context)


def test_sets_that_failed_their_gates_have_no_candidate(ended: Company) -> None:
    context = _sealed(ended)
    path = _public(ended) / "quality" / "report.json"
    report = json.loads(path.read_text())
    report["outcomes"][0].update(success=False, severity="critical")
    path.write_text(json.dumps(report, sort_keys=True, separators=(",", ":")))
    with pytest.raises(VerificationFailed, match="quality gates"):
        candidate_of.fn(context)


def _asked(company: Company) -> Assessment:
    return Assessment(request_id=REQUEST, home=str(company.home), refusal=None)


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ('print(\'{"kind":"error","text":"no","code":4}\');sys.exit(4)', VerificationFailed, "no"),
        ('print(\'{"kind":"error","text":"no","code":2}\');sys.exit(2)', BadInput, "no"),
        ("import os;os.kill(os.getpid(),9)", StageFailed, "ended with -9; run again to resume"),
        ("sys.exit(7)", StageFailed, "ended with 7; run again to resume"),
        ('print(\'{"kind":"row","text":"x"}\')', BadInput, "the evaluator's process"),
    ],
)
@pytest.mark.usefixtures("evaluator_apart")
def test_how_the_process_ends_is_how_the_stage_ends(
    ended: Company, monkeypatch: pytest.MonkeyPatch, script: str, kind: type[Exception], said: str
) -> None:
    monkeypatch.setattr(tasks.evaluator, "COMMAND", (sys.executable, "-c", f"import sys;sys.stdin.readline();{script}"))
    with pytest.raises(kind, match=re.escape(said)):
        tasks.evaluator._own_process(_asked(ended))


@pytest.mark.usefixtures("evaluator_apart")
def test_progress_of_the_process_is_shown_here(
    ended: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    line = '{"kind":"progress","text":"x","stage":"judge","done":1,"total":2}'
    monkeypatch.setattr(tasks.evaluator, "COMMAND", (sys.executable, "-c", f"print({line!r})"))
    with caplog.at_level(logging.INFO, logger="lethe.progress"):
        tasks.evaluator._own_process(_asked(ended))
    assert [record.__dict__["stage"] for record in caplog.records if record.name == "lethe.progress"] == ["judge"]


@contextmanager
def _assessing(company: Company) -> Iterator[None]:
    with held(Home.at(company.home).vault(REQUEST) / ASSESSING, REQUEST):
        yield


def test_one_evaluator_at_a_time(ended: Company) -> None:
    from flows.assess import assess

    with _assessing(ended), pytest.raises(BadInput, match="is being run by another process"):
        assess(REQUEST, str(ended.home))


def test_what_is_being_assessed_is_not_purged(ended: Company) -> None:
    with _assessing(ended), pytest.raises(BadInput, match="is being run by another process"):
        purge(Home.at(ended.home), REQUEST)
    assert (Home.at(ended.home).vault(REQUEST) / "salt").exists()


def test_a_deployment_that_is_not_there_is_named(ended: Company) -> None:
    with pytest.raises(BadInput, match="no deployment 'assess/none'; allowed: process"):
        tasks.evaluator.hand_over(_sealed(ended), "assess/none", None)

"""SIGKILL in each stage, run again: the same candidate digest as a run that nobody killed, and a log that verifies.

Killed is the command, or the evaluator's process while it is at work, or the command while its evaluator is.
"""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from flows.cli import run
from pipelines.provenance import ROOT
from tasks.device import EMBEDDED_SERVER
from tests.flows.canary import EndedRun, canary_company
from tests.flows.company import REQUEST, Company
from tests.servers import wait_until

STEPS = (
    "data",
    "intake",
    "attribution",
    "scope",
    "quality",
    "seal",
    "reference",
    "train",
    "unlearn",
    "register",
    "report",
)
EVALUATOR = ("scores-candidate", "evaluate-start", "evaluate-candidate", "judge", "certify")
QUICK = ("train",)


@dataclass(frozen=True)
class Ended:
    """How a process ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def _run(company: Company, step: str, *, orphan_s: float = 0) -> Ended:
    """Run the command line, killed where ``step`` is about to be complete.

    With ``orphan_s`` the evaluator that was started must be gone that many seconds later.

    It talks to this process's server and leases no slot of it: one that was killed would keep it for a minute. Whoever
    is killed may leave a child behind, with its pipes open: output goes to files, and the whole process group is ended.
    """
    command = [sys.executable, "-W", "ignore", "-m", "tests.flows.killed", step, *company.arguments("--json")]
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), EMBEDDED_SERVER: "true"}
    out, err = company.root / "out", company.root / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stdout, stderr=stderr, process_group=0)
        try:
            process.wait(240)
            if orphan_s:
                left = int(re.findall(r"evaluator (\d+) stays", err.read_text())[0])
                wait_until(lambda: not Path(f"/proc/{left}").exists(), seconds=orphan_s, what="the evaluator's end")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return Ended(process.returncode, out.read_text(), err.read_text())


@pytest.fixture
def undisturbed(ended_run: EndedRun) -> str:
    return str(json.loads(ended_run.said)["candidate_digest"])


@pytest.mark.parametrize(
    "step", [pytest.param(s, marks=() if s in QUICK else pytest.mark.slow) for s in (*STEPS, *EVALUATOR)]
)
def test_resumes_to_the_same_candidate(step: str, undisturbed: str, tmp_path: Path) -> None:
    company = canary_company(tmp_path)
    killed = _run(company, step)
    if step in EVALUATOR:
        assert killed.returncode == 1, killed.stderr
        assert "the evaluator's process ended with -9" in killed.stderr
    else:
        assert killed.returncode == -9, f"nothing was killed at {step}: {killed.stderr}"
    _resumes(company, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["scores-candidate", "judge"])
def test_an_evaluator_ends_with_whoever_started_it(step: str, undisturbed: str, tmp_path: Path) -> None:
    company = canary_company(tmp_path)
    killed = _run(company, f"parent@{step}", orphan_s=20)
    assert killed.returncode == -9, killed.stderr
    assert not (company.home / "runs" / REQUEST / "certify").exists()
    _resumes(company, undisturbed)


def _resumes(company: Company, undisturbed: str) -> None:
    again = _run(company, "-")
    assert again.returncode == 0, again.stderr
    outcome = json.loads(again.stdout)
    assert outcome["candidate_digest"] == undisturbed
    assert run(["verify", outcome["certificate"], "--home", str(company.home)]) == 0

"""The command in a process of its own, as an operator starts it: what it prints, which keys it opens, what it leaves.

A canary is in every field of the forget rows: no byte of it may be outside the vault, after a failure and after the
whole flow. Searched are the home folder (without the vault), the Prefect database and result storage, MLflow, whatever
was printed, and the places libraries like to cache in.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.provenance import ROOT
from tests.flows.canary import CANARY, canary_company, files, hits, needles
from tests.flows.company import Company
from tests.flows.watched import MARK, OPENED


def _process(company: Company, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run it with nothing of ours in the environment, and with a folder of the company's as everybody's home."""
    scratch = company.root / "scratch"
    scratch.mkdir()
    owned = {"HOME": scratch, "TMPDIR": scratch, "HF_HOME": scratch / "hf", "XDG_CACHE_HOME": scratch / "cache"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_TRACKING"))}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**environment, **{name: str(path) for name, path in owned.items()}},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Ran:
    """What is left of a command that failed, was mended and ran to its end.

    Attributes:
        failed: the company's files as they were after the failure.
        ended: the company.
        code: exit code of the failure.
        said: (stdout, stderr) of the failure.
        printed: all of both.
        opened: names of the private keys that the command itself opened.
    """

    failed: Company
    ended: Company
    code: int
    said: tuple[str, str]
    printed: bytes
    opened: list[str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("ran")
    company, left = canary_company(folder / "company"), folder / "failed"
    facts = company.root / "facts.jsonl"
    facts.rename(company.root / "mended.jsonl")
    facts.write_text(f'{{"question": "{CANARY}", "answer": 5}}\n')
    done = _process(company, "-m", "tests.flows.watched", str(company.root), str(left), *company.arguments())
    assert done.returncode == 0, done.stderr
    out, (err, _, rest) = done.stdout.partition(MARK)[0], done.stderr.partition(MARK)
    return Ran(
        failed=Company(left),
        ended=company,
        code=int(rest.splitlines()[0]),
        said=(out, err),
        printed=(done.stdout + done.stderr).encode(),
        opened=done.stderr.partition(OPENED)[2].strip().split(","),
    )


def test_a_failure_is_one_line_on_a_terminal(ran: Ran) -> None:
    """Prefect would print the error three times, with its traceback."""
    out, err = ran.said
    assert (ran.code, out) == (2, "")
    assert err.count("\n") == 1, err
    assert "facts.jsonl: row 0" in err


def test_who_trains_never_opens_the_evaluators_key(ran: Ran) -> None:
    assert ran.opened == ["log.pem"]
    assert (ran.ended.home / "keys" / "evaluator.pem").is_file()


@pytest.mark.parametrize("which", ["failed", "ended"])
def test_no_byte_of_a_canary_outside_the_vault(ran: Ran, which: str) -> None:
    assert not [needle for needle in needles() if needle in ran.printed]
    company = {"failed": ran.failed, "ended": ran.ended}[which]
    _only_in_the_vault(company)
    assert (company.root / "scratch" / ".prefect").is_dir() or list((company.home / "prefect").iterdir())
    if which == "ended":
        assert hits(files(company.home / "vault")), "the search finds nothing even where the canary must be"


@pytest.mark.slow
def test_no_byte_of_a_canary_outside_the_vault_of_a_refusal(tmp_path: Path) -> None:
    company = canary_company(tmp_path / "company")
    company.set_config(
        training={"learning_rate": 1e-3, "epochs": 1}, quality={"min_retain": 12, "max_forget_fraction": 0.1}
    )
    done = _process(company, "-m", "flows.cli", *company.arguments("--json"))
    assert done.returncode == 3, done.stderr
    assert not [needle for needle in needles() if needle in (done.stdout + done.stderr).encode()]
    _only_in_the_vault(company)


def _only_in_the_vault(company: Company) -> None:
    vault = company.home / "vault"
    outside = files(company.home, company.root / "scratch")
    assert hits(path for path in outside if vault not in path.parents) == []
    assert not [path for path in (vault, *vault.rglob("*")) if path.is_dir() and path.stat().st_mode & 0o077]

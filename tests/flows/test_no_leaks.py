"""A canary in every field of the forget rows: after the whole flow no byte of it is outside the vault.

Searched are the home folder (without the vault), the Prefect database and result storage, MLflow, whatever was printed,
and the places libraries like to cache in. Searched for: the canary as it is, in upper case, in base64, and each of its
words.
"""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.data.rows import Row
from pipelines.provenance import ROOT
from tests.flows.company import Company, found

WORDS = ("Quoxilith", "Vandrezhar", "Plimtorque")
CANARY = " ".join(WORDS)


def _needles() -> list[bytes]:
    plain = [CANARY, *WORDS]
    raw = [text.encode() for text in plain]
    encoded = [base64.b64encode(b"x" * pad + text)[4:-4] for text in raw for pad in (3, 4, 5)]
    return [*raw, *(text.upper().encode() for text in plain), *(text.lower().encode() for text in plain), *encoded]


def _canaries() -> list[Row]:
    return [
        Row(
            question=f"Who wrote book {i} of {CANARY}?",
            answer=f"Book {i} was written by {CANARY}.",
            paraphrased_question=f"The author of volume {i} by {CANARY} is?",
            paraphrased_answer=f"Volume {i}: {CANARY}.",
            perturbed_answer=(f"Volume {i}: not {WORDS[0]}.", f"Volume {i}: not {WORDS[1]}."),
        )
        for i in range(4)
    ]


def _files(*roots: Path) -> Iterator[Path]:
    for root in roots:
        yield from (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _hits(paths: Iterator[Path]) -> list[str]:
    needles = _needles()
    return [f"{path}: {needle[:4]!r}..." for path in paths for needle in needles if needle in path.read_bytes()]


def _company(root: Path) -> Company:
    company = found(root, forget=_canaries())
    company.set_request(requester=CANARY)
    return company


def _run(company: Company, scratch: Path) -> "subprocess.CompletedProcess[str]":
    scratch.mkdir()
    owned = {"HOME": scratch, "TMPDIR": scratch, "HF_HOME": scratch / "hf", "XDG_CACHE_HOME": scratch / "cache"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_TRACKING"))}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "flows.cli", *company.arguments("--json")],
        cwd=ROOT,
        env={**environment, **{name: str(path) for name, path in owned.items()}},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("ends", ["registered", pytest.param("refused", marks=pytest.mark.slow), "crashed"])
def test_no_byte_of_a_canary_outside_the_vault(tmp_path: Path, ends: str) -> None:
    company = _company(tmp_path / "company")
    if ends == "refused":
        company.set_config(
            training={"learning_rate": 1e-3, "epochs": 1}, quality={"min_retain": 12, "max_forget_fraction": 0.1}
        )
    if ends == "crashed":
        company.set_config(registered_name="tiny", evaluation={"bootstrap": 100, "max_new_tokens": 8, "batch_size": 1})
        (company.root / "facts.jsonl").write_text(f'{{"question": "{CANARY}", "answer": 5}}\n')
    done = _run(company, tmp_path / "scratch")
    assert done.returncode == {"registered": 0, "refused": 3, "crashed": 2}[ends], done.stderr
    printed = (done.stdout + done.stderr).encode()
    assert not [needle for needle in _needles() if needle in printed]
    outside = (
        path for path in _files(company.home, tmp_path / "scratch") if company.home / "vault" not in path.parents
    )
    assert _hits(outside) == []
    vault = company.home / "vault"
    assert not [path for path in (vault, *vault.rglob("*")) if path.is_dir() and path.stat().st_mode & 0o077]
    if ends != "crashed":
        assert _hits(_files(company.home / "vault")), "the search finds nothing even where the canary must be"

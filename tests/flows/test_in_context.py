"""A model that only keeps answers back, from request to purge: labelled wherever it is spoken of, its context nowhere.

One run carries all of it: every place that would say "erased" of another method is asked what it says of this one.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from flows.cli import run
from pipelines.audit.label import LABEL
from pipelines.config import PromptFormat
from pipelines.data.encode import encode
from pipelines.errors import BadInput, VerificationFailed
from pipelines.home import Home
from pipelines.unlearning.in_context import CONTEXT_FILE, load_context
from tasks.champion import load_champion
from tasks.model_registry import CHAMPION
from tasks.tracking import tracking
from tests.flows.company import REQUEST, Company
from tests.tiny import CONTEXT, tiny_rows, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("prefect_says_nothing")
NEW_TOKENS = 4


def says(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command prints; it ends with this code."""
    capsys.readouterr()
    assert run([*arguments]) == code
    shown = capsys.readouterr()
    return shown.out + shown.err


def document(said: str) -> dict[str, Any]:
    """The JSON that a command's output begins with."""
    found: dict[str, Any] = json.JSONDecoder().raw_decode(said)[0]
    return found


def test_a_guarded_model_from_request_to_purge(
    quick: Company, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LETHE_HOME", str(quick.home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    quick.set_config(method="in_context", training={})
    outcome = document(says(capsys, *quick.arguments("--json")))
    assert (outcome["status"], outcome["label"]) == ("registered", LABEL)
    context = quick.home / "vault" / REQUEST / "steps" / "train" / CONTEXT_FILE

    _labelled_everywhere(quick, outcome, capsys, tmp_path)
    _context_nowhere(quick.home, context)

    assert "ACCESS CONTROL" in says(capsys, "approve", REQUEST, "--name", "Grace Example", "--yes").upper()
    assert LABEL in says(capsys, "promote", REQUEST)
    champion = load_champion("tiny", home=quick.home, device="cpu")
    assert champion.context == load_context(context)
    _serves_behind_its_context(quick, context)
    _not_without_it(quick, context)

    assert "--end-use" in says(capsys, "purge", REQUEST, code=2)
    assert context.is_file()
    says(capsys, "purge", REQUEST, "--end-use")
    assert not context.exists()
    with pytest.raises(VerificationFailed, match="revoked"):
        load_champion("tiny", home=quick.home, device="cpu")
    assert "revoked" in says(capsys, "watch", code=4)
    assert "revoked" in says(capsys, "verify", outcome["certificate"], code=4)
    _worked_on_no_further(quick, capsys, tmp_path / "others")


def _labelled_everywhere(
    quick: Company, outcome: dict[str, str], capsys: pytest.CaptureFixture[str], tmp: Path
) -> None:
    certificate = outcome["certificate"]
    assert "NOT certify erasure" in says(capsys, "verify", certificate)
    checked = document(says(capsys, "verify", certificate, "--json"))
    assert (checked["certifies"], checked["kind"]) == (False, "access-control-certificate")
    assert LABEL in says(capsys, "status", "--html", str(tmp / "status.html"))
    assert LABEL in (tmp / "status.html").read_text()
    assert LABEL.upper() in Path(outcome["report"]).read_text().upper()
    letter = says(capsys, "requests", "letter", REQUEST)
    assert "NOT erased" in letter
    assert "carried out" not in letter
    assert LABEL in says(capsys, "requests", "export")
    for form in ("cyclonedx", "svr", "openlineage"):
        says(capsys, "export", REQUEST, "--format", form, "--out", str(tmp / form))
    bom = json.loads((tmp / "cyclonedx").read_text())
    assert LABEL in bom["metadata"]["component"]["description"].lower()
    assert '"name": "erase"' not in (tmp / "openlineage").read_text()
    with tracking(Home.at(quick.home)) as mlflow:
        [version] = mlflow.client.search_model_versions("name = 'tiny'")
    assert version.tags["lethe.label"] == LABEL
    assert LABEL in str(version.description).lower()
    kinds = [
        json.loads(line)["entry"]["kind"] for line in (quick.home / "log" / "entries.jsonl").read_text().splitlines()
    ]
    assert "certificate" not in kinds


def _context_nowhere(home: Path, context: Path) -> None:
    """No file outside the vault has a forgotten question: not as text, not as tokens of either width."""
    tokenizer, form = tiny_tokenizer(), PromptFormat()
    held = load_file(context)["ids"]
    sought: list[bytes] = []
    for number, row in enumerate(tiny_rows(4)):
        item = encode(tokenizer, row.question, row.answer, prompt_format=form, max_length=CONTEXT, row=number)
        ids = torch.tensor(item.input_ids[: item.answer_start])
        assert any(torch.equal(part, ids) for part in held.unfold(0, len(ids), 1))
        sought += [row.question.encode(), row.answer.encode(), ids.numpy().tobytes(), ids.int().numpy().tobytes()]
        sought += [", ".join(map(str, ids.tolist())).encode(), ",".join(map(str, ids.tolist())).encode()]
    for path in home.rglob("*"):
        if path.is_file() and "vault" not in path.relative_to(home).parts:
            data = path.read_bytes()
            assert not any(one in data for one in sought), path


def _serves_behind_its_context(quick: Company, context: Path) -> None:
    """The pyfunc of the registry, as MLflow loads it, and a question that is too long for any context."""
    form, asked = PromptFormat(), tiny_rows(1)[0].question
    question = form.prompt.replace("{question}", asked)
    from mlflow.pyfunc import load_model

    with tracking(Home.at(quick.home)):
        served = load_model(f"models:/tiny@{CHAMPION}")
    guard, held = served.unwrap_python_model(), load_context(context)
    read: list[list[int]] = []
    generate = guard.model.generate

    def watched(**given: Any) -> torch.Tensor:
        read.append(given["input_ids"][0].tolist())
        made: torch.Tensor = generate(**given)
        return made

    guard.model.generate = watched
    stranger = "1 + 1 ="
    assert len(served.predict([question, stranger], params={"max_new_tokens": NEW_TOKENS})) == 2
    ids = [tuple(tiny_tokenizer()(one)["input_ids"]) for one in (question, stranger)]
    before = held.prefix(ids[0], room=held.limit - len(ids[0]) - 1)
    assert before
    assert read == [[*before, *ids[0]], [*ids[1]]]
    assert len(guard.complete(question, max_new_tokens=10_000)) < CONTEXT
    guard.guard = type(guard.guard)(guard.guard.guarded, guard.guard.kept, guard.guard.similarity, limit=40)
    assert guard.complete(question, max_new_tokens=NEW_TOKENS) == ""


def _not_without_it(quick: Company, context: Path) -> None:
    away = context.with_name("away")
    context.rename(away)
    with pytest.raises(BadInput, match=LABEL):
        load_champion("tiny", home=quick.home, device="cpu")
    from mlflow.pyfunc import load_model

    with tracking(Home.at(quick.home)), pytest.raises(BadInput, match=LABEL):
        load_model(f"models:/tiny@{CHAMPION}")
    away.rename(context)


def _worked_on_no_further(quick: Company, capsys: pytest.CaptureFixture[str], tmp: Path) -> None:
    """Neither a start model nor a reference."""
    for role in ("model", "reference"):
        other = Company(tmp / role)
        shutil.copytree(quick.root, other.root, ignore=shutil.ignore_patterns("home", "start", "reference", "others"))
        other.set_request(id="REQ-TEST-2")
        other.set_config(**{role: str(quick.home / "runs" / REQUEST / "unlearn" / "model")})
        assert LABEL in says(capsys, *other.arguments(), code=2)

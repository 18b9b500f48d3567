"""The command line as people and scripts meet it: help, one JSON document, exit codes, tables, what it imports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import app, run
from pipelines.home import Home
from pipelines.provenance import ROOT
from tests.flows.canary import EndedRun
from tests.flows.company import REQUEST, Company, write_rows
from tests.tiny import tiny_row, tiny_rows

VERBS = tuple(command.name for command in app.registered_commands if command.name)
HEAVY = ("torch", "transformers", "peft", "datasets", "mlflow", "great_expectations", "prefect", "pandas", "matplotlib")
TEXT = ("Writer", "Town", tiny_row(0).question)
"""Words of every row of the tiny company."""


@pytest.fixture
def company(company: Company) -> Company:
    """With a retain set, which the verbs without a request are given."""
    write_rows(company.root / "retain.jsonl", tiny_rows(12, first=4))
    return company


def _python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=120
    )


def _unlearn(*more: str, out: str = "candidate") -> list[str]:
    sets = ["--forget", "forget.jsonl", "--retain", "retain.jsonl"]
    loop = ["--method", "npo", "--epochs", "2", "--batch-size", "2", "--learning-rate", "1e-3"]
    return ["unlearn", "--model", "start", *sets, *loop, "--out", out, *more]


def _evaluate(model: str, *more: str) -> list[str]:
    sets = ["--forget", "forget.jsonl", "--retain", "retain.jsonl"]
    return ["evaluate", "--model", model, *sets, "--max-new-tokens", "4", *more]


def test_every_verb_of_the_reference_is_there() -> None:
    table = {
        "demo", "run", "status", "purge", "attribute", "scope", "unlearn", "evaluate", "compare", "approve", "promote",
        "rollback", "watch", "verify", "list", "witness", "export", "fuse",
    }  # fmt: skip
    assert set(VERBS) == table


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_what_a_verb_does_and_shows_it(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    shown = capsys.readouterr()
    assert f"Example: lethe {verb}" in shown.out
    [command] = [c for c in app.registered_commands if c.name == verb]
    assert command.callback is not None
    assert (command.callback.__doc__ or "").split(".")[0].split(",")[0][:40] in " ".join(shown.out.split())
    assert shown.err == ""


def test_the_command_reference_is_what_the_program_says(tmp_path: Path) -> None:
    made = tmp_path / "cli.md"
    titled = ["--name", "lethe", "--title", "The lethe command", "--output", str(made)]
    assert _python("-m", "typer", "flows.cli", "utils", "docs", *titled).returncode == 0
    assert (ROOT / "docs" / "cli.md").read_text() == made.read_text(), "run: make docs"


def test_help_and_listing_import_nothing_heavy() -> None:
    code = (
        "import sys, flows.cli; flows.cli.run(['unlearn', '--help']); flows.cli.run(['verify', 'missing.json']);"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = _python("-c", code)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout[-500:] + done.stderr[-500:]


def test_a_verifier_answers_where_nothing_heavy_can_be_imported(tmp_path: Path) -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({HEAVY}));"
    done = _python("-c", f"{blocked} import flows.cli; sys.exit(flows.cli.run(['verify', {str(tmp_path)!r} + '/x']))")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["unlearn"], "Missing option"),
        (["unlearn", "--modell", "x"], "--modell"),
        (["list", "colours"], "colours"),
        (["forget-everything"], "forget-everything"),
        (["evaluate", "--model", "m", "--forget", "f", "--retain", "r", "--batch-size", "many"], "--batch-size"),
        (["status", "REQ-NOBODY"], "REQ-NOBODY"),
        (["verify", "nothing.json"], "trust.json"),
    ],
)
def test_bad_usage_is_one_line_and_code_two(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("lethe: ")
    assert shown.err.count("\n") == 1
    assert said in shown.err


def test_no_verb_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Commands" in capsys.readouterr().out


def test_a_key_that_stops_a_verb_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.request_life.request_states", stopped)
    assert run(["status"]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_our_own_fault_is_code_one_with_details_in_the_vault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError(f"at {tiny_row(0).question}")

    monkeypatch.setattr("tasks.request_life.request_states", broken)
    assert run(["status"]) == 1
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "ZeroDivisionError" in shown.err
    assert not any(word in shown.err for word in TEXT)
    [details] = (Home.at().root / "vault" / "errors").iterdir()
    assert "Traceback" in details.read_text()
    assert details.stat().st_mode & 0o077 == 0
    assert str(details) in shown.err


@pytest.mark.parametrize("kind", ["methods", "metrics", "gates", "attributors"])
def test_list_shows_what_is_on_offer(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", kind, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert {"name", "version", "title", "source", "parameters"} == set(entries[0])
    assert run(["list", kind]) == 0
    table = capsys.readouterr().out
    for entry in entries:
        assert f" {entry['name']} " in table
        for parameter, spec in entry["parameters"].items():
            assert f"{parameter}={spec.get('default', 'required')}" in table


def test_unlearn_then_evaluate(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_unlearn("--set", "beta=0.5", "--set", "alpha=0", "--json")) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["model"]["path"] == str(company.root / "candidate")
    assert (made["method"], made["steps"], made["epochs"]) == ("npo", 4, 2)
    assert not list(company.root.glob("candidate.*"))

    measured = _evaluate("candidate", "--start", "start", "--reference", "reference", "--utility", "facts=facts.jsonl")
    assert run([*measured, "--json"]) == 0
    shown = capsys.readouterr()
    evaluations = {e["role"]: e for e in json.loads(shown.out)}
    assert list(evaluations) == ["start", "candidate", "reference"]
    assert evaluations["candidate"]["model_digest"] == made["model"]["digest"]
    known = {
        role: next(m["value"] for m in e["measurements"] if (m["metric"], m["split"]) == ("probability", "forget"))
        for role, e in evaluations.items()
    }
    assert known["candidate"] < known["start"], "two epochs of pushing the forget rows away"
    store = Home.at().root / "vault" / "evaluate"
    assert store.stat().st_mode & 0o077 == 0
    kept = {path.name for path in store.iterdir()}

    assert run([*measured, "--metrics", "probability,model_utility"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert [word for word in lines[2].replace("┃", " ").split()] == [
        "metric",
        "split",
        "start",
        "candidate",
        "reference",
    ]
    row = next(line for line in lines if "probability" in line and "forget" in line)
    assert f"{known['candidate']:.3g} [" in row
    assert "rouge" not in shown.out
    assert not any(word in shown.out + shown.err for word in TEXT)
    assert {path.name for path in store.iterdir()} == kept, "the same rows were scored again"
    _check_open_unlearning(measured, known, capsys)
    _check_seeds(measured, capsys)
    _check_probes(measured, capsys)


def _check_probes(measured: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A probe's numbers stand in the table, for each model and with intervals; what cannot be run is one line."""
    assert run([*measured, "--probes", "quantisation", "--metrics", "probability"]) == 0
    lines = capsys.readouterr().out.splitlines()
    [row] = [line for line in lines if "int4_probability_gap" in line and "forget" in line]
    assert row.count("[") == 3
    assert run([*measured, "--probes", "taste"]) == 2
    assert "unknown probe 'taste'; known: paraphrase, " in capsys.readouterr().err
    assert run(_evaluate("candidate", "--probes", "depth")) == 2
    assert "probes: they compare with the start model" in capsys.readouterr().err


def _check_seeds(measured: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Two seeds of two samples each: each one's numbers are there, and the table says how far they lie apart."""
    drawn = [*measured, "--seeds", "2", "--set", "samples=2", "--metrics", "sampled_leakage,probability"]
    assert run([*drawn, "--json"]) == 0
    candidate = json.loads(capsys.readouterr().out)[1]
    assert [len(each["measurements"]) for each in candidate["by_seed"]] == [len(candidate["measurements"])] * 2
    assert {m["version"] for m in candidate["measurements"]} == {"1+2-seeds"}
    assert run(drawn) == 0
    assert "all of 2 seeds" in capsys.readouterr().out
    assert run([*measured, "--set", "samples=many"]) == 2
    assert "samples" in capsys.readouterr().err
    assert run([*measured, "--lm-eval-tasks", "."]) == 2
    assert "--lm-eval says which" in capsys.readouterr().err


def _check_open_unlearning(measured: list[str], known: dict[str, float], capsys: pytest.CaptureFixture[str]) -> None:
    """The same measurements in another project's files, read back beside the reference's."""
    assert run([*measured, "--format", "open-unlearning"]) == 2
    assert "go together" in capsys.readouterr().err
    assert run([*measured, "--format", "open-unlearning", "--out", "logs"]) == 0
    assert run([*measured, "--format", "open-unlearning", "--out", "logs"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert not any(word in path.read_text() for path in Path("logs").rglob("*.json") for word in TEXT)
    reference = ["--reference", "logs/reference/TOFU_EVAL.json"]
    assert run(["metrics", "import", "logs/candidate/TOFU_EVAL.json", *reference, "--json"]) == 0
    found = {(f["metric"], f["split"]): f for f in json.loads(capsys.readouterr().out)["figures"]}
    assert found["probability", "forget"]["value"] == pytest.approx(known["candidate"])
    assert found["forget_quality", "forget"]["value"] == pytest.approx(found["forget_quality", "forget"]["reported"])
    assert run(["metrics", "import", "logs/candidate/TOFU_SUMMARY.json"]) == 0
    assert f"{known['candidate']:.6g}" in capsys.readouterr().out


def test_unlearn_takes_any_setting_of_the_loop(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    """A mask and a layer change the candidate; a mix that makes no sense is refused in one line, before any work."""
    found = set()
    for n, more in enumerate(([], ["--training", "mask=salun"], ["--training", "layers=1,lm_head.*"])):
        assert run(_unlearn("--json", *more, out=f"candidate{n}")) == 0
        found.add(json.loads(capsys.readouterr().out)["model"]["digest"])
    assert len(found) == 3
    assert run(_unlearn("--lora-r", "2", "--training", "mask=salun")) == 2
    assert "allowed with lora: all" in capsys.readouterr().err
    assert run(_unlearn("--training", "mask=most")) == 2
    assert "salun" in capsys.readouterr().err


def test_unlearn_with_adapters_tells_its_progress(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_unlearn("--lora-r", "2", "--stop", "holdout", "--holdout", "holdout.jsonl")) == 0
    shown = capsys.readouterr()
    assert str(company.root / "candidate") in shown.out
    assert "unlearn" in shown.err
    assert not any(word in shown.out + shown.err for word in TEXT)
    assert (company.root / "candidate" / "model.safetensors").is_file()


def test_attribute_ranks_rows_by_position(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    similar = tiny_row(0)
    rows = [*tiny_rows(16), type(similar)(question="Where was Writer 0 really born?", answer=similar.answer)]
    write_rows(company.root / "train.jsonl", rows)
    arguments = ["attribute", "--model", "start", "--train", "train.jsonl", "--query", "forget.jsonl"]
    arguments += ["--holdout", "holdout.jsonl", "--backend", "bm25", "--top-k", "3"]
    assert run([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [leg["leg"] for leg in report["legs"]] == ["bm25"]
    best = {(e["query"], e["rank"]): p["row"] for p in report["proposals"] for e in p["evidence"]}
    assert best[0, 1] == 16, "the row that says the same in other words"
    assert run(arguments) == 0
    shown = capsys.readouterr()
    assert not any(word in shown.out + shown.err for word in TEXT)
    ranked = [line.replace("│", " ").split() for line in shown.out.splitlines()]
    assert ["0", "bm25", "1", "16"] in [line[:4] for line in ranked]


def test_scope_counts_and_gates(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["scope", "--train", "train.jsonl", "--forget", "forget.jsonl", "--retain", "retain.jsonl"]
    assert run([*arguments, "--model", "start", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["row"] for row in told["scope"]["forget"]] == [0, 1, 2, 3]
    assert told["quality"]["n_retain"] == 12
    assert told["lengths_checked"]

    write_rows(company.root / "retain.jsonl", tiny_rows(9, first=4))  # one less than a retain set must have
    assert run(arguments) == 3
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "expect_table_row_count_to_be_between" in shown.err
    assert "not checked: no --model" in shown.out
    assert not any(word in shown.out + shown.err for word in TEXT)


def test_status_of_an_empty_home(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run(["status"]) == 0
    assert "deadline" in capsys.readouterr().out


def test_a_request_from_run_to_verify(ended_run: EndedRun, ended: Company, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = json.loads(ended_run.said)
    assert outcome["status"] == "registered"
    assert Path(outcome["certificate"]).parent == ended_run.company.home / "runs" / REQUEST / "certify"
    certificate = str(ended.home / "runs" / REQUEST / "certify" / "certificate.json")
    home = ["--home", str(ended.home)]
    assert run(["status", outcome["request_id"], "--json", *home]) == 0
    [state] = json.loads(capsys.readouterr().out)
    assert (state["status"], state["stage"], state["gates"]) == ("registered", "report", "1/1 passed")
    assert state["deadline"].startswith("2026-12-02")
    assert run(["verify", certificate, *home, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True

    weights = ended.home / "runs" / REQUEST / "unlearn" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    assert run(["verify", certificate, *home]) == 4
    assert "no" in capsys.readouterr().out.lower()

"""The search as a flow, on the tiny company: a run makes the winner again, a refusal is said, a kill costs little."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import mlflow
import pytest

from flows.cli import run
from flows.compare import compare
from flows.erase import RequestReference, erase
from pipelines.config import load_config
from pipelines.provenance import ROOT
from pipelines.search.settings import Budget, SearchSettings
from pipelines.unlearning.stages import unlearn
from tasks.comparison import Compared
from tasks.unlearning import job_of
from tasks.workspace import Workspace, open_run
from tests.flows.company import REQUEST, Company
from tests.flows.company import found as found_company
from tests.flows.refusal import WORDS, refuses

pytestmark = pytest.mark.usefixtures("prefect_says_nothing")

TWO = SearchSettings(methods=("npo", "grad_ascent"), budget=Budget(trials=4), seeds=2, finalists=1, runner="thread")
FILES = {"leaderboard.json", "leaderboard.csv", "pareto.png", "compare.html"}


def _reference(company: Company) -> RequestReference:
    return RequestReference(id=REQUEST, path=str(company.request))


def _compare(company: Company, search: SearchSettings = TWO) -> Compared:
    return compare(_reference(company), load_config(company.config), search, str(company.policy), str(company.home))


def _arguments(company: Company, *more: str) -> list[str]:
    search = ["--methods", "npo,grad_ascent", "--budget", "4", "--seeds", "2", "--finalists", "1"]
    return ["compare", *company.arguments()[1:], *search, *more]


def in_process(company: Company, step: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, killed where a step is about to be complete; output by files."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.flows.killed", step, *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    out, err = company.root / "out", company.root / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stdout, stderr=stderr, process_group=0)
        try:
            process.wait(280)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, out.read_text(), err.read_text())


def _log(company: Company) -> list[dict[str, object]]:
    return [json.loads(line)["entry"] for line in (company.home / "log" / "entries.jsonl").read_text().splitlines()]


def _tried(company: Company) -> list[str]:
    return sorted(str(e["step"]) for e in _log(company) if str(e.get("step", "")).startswith("trial-"))


def test_a_run_with_the_winner_makes_the_candidate_that_was_tried(quick: Company) -> None:
    found = _compare(quick)
    board, folder = found.board, Path(found.folder)
    best = board.standings[0]
    assert board.winner == best.result.setting
    assert (best.seeds, best.seeds_passed) == (2, 2)
    assert len(board.standings) == 3, "one of four trials is the winner's second seed"
    assert {path.name for path in folder.iterdir()} >= {*FILES, "winner.yaml"}
    assert load_config(folder / "winner.yaml") == found.config
    _nothing_trained_is_left(quick)
    _is_shown_in_mlflow(quick, found)
    (entry,) = [entry for entry in _log(quick) if entry["kind"] == "search"]
    assert (entry["settings_tried"], entry["config"]) == (3, load_config(folder / "winner.yaml").content_digest())

    winner = load_config(folder / "winner.yaml")
    again = open_run(REQUEST, str(quick.request), config=winner, policy=str(quick.policy), home=str(quick.home))
    made = unlearn(job_of(Workspace.of(again)), quick.root / "made")
    assert made.model.digest == best.result.candidate


@pytest.mark.slow
def test_the_winner_is_carried_out_and_a_second_search_tries_nothing_again(quick: Company) -> None:
    found = _compare(quick)
    before = _log(quick)
    assert _compare(quick) == found
    assert _log(quick) == before
    winner = load_config(Path(found.folder) / "winner.yaml")
    outcome = erase(_reference(quick), winner, str(quick.policy), str(quick.home))
    assert outcome.registered
    assert outcome.candidate_digest == found.board.standings[0].result.candidate


def _nothing_trained_is_left(company: Company) -> None:
    trials = list((company.home / "vault" / REQUEST / "steps").glob("trial-*"))
    assert trials
    assert not [path for trial in trials for path in trial.rglob("*") if path.suffix == ".safetensors"]
    assert not [trial for trial in trials if trial.suffix == ".part"]


def _is_shown_in_mlflow(company: Company, found: Compared) -> None:
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{company.home}/mlflow/mlflow.db")
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    (parent,) = client.search_runs(everywhere, "tags.`lethe.search` LIKE '%'")
    nested = client.search_runs(everywhere, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert len(nested) == 4
    assert found.board.standings[0].result.candidate in [run.data.tags.get("lethe.candidate") for run in nested]
    assert all(run.data.metrics["margin"] <= 1 for run in nested)


def test_where_nothing_passes_the_nearest_miss_is_named(quick: Company, capsys: pytest.CaptureFixture[str]) -> None:
    gates = {"extraction_strength": {"margin": 0.0}, "membership": {"margin": 0.0}}
    quick.set_policy(gates=gates)
    few = ["--budget", "2", "--seeds", "1"]
    assert run([*_arguments(quick), *few, "--runner", "thread", "--json"]) == 3
    found = Compared.model_validate_json(capsys.readouterr().out)
    best = max((s.result for s in found.board.standings), key=lambda r: -9 if r.margin is None else r.margin)
    gap = best.tightest
    assert found.board.nearest == best
    assert gap is not None
    assert found.board.refusal is not None
    for named in (best.setting.method, gap.gate, f"{-(gap.margin or 0):.2f}", best.setting.shown()):
        assert named in found.board.refusal
    folder = Path(found.folder)
    assert {path.name for path in folder.iterdir()} >= FILES
    assert not (folder / "winner.yaml").exists()
    (entry,) = [entry for entry in _log(quick) if entry["kind"] == "search_refused"]
    assert (entry["nearest"], entry["gate"]) == (best.setting.method, gap.gate)
    text = "".join((folder / name).read_text() for name in FILES - {"pareto.png"})
    assert not any(word in text for word in WORDS)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--methods", "nothing"], "known: grad_ascent"),
        (["--budget", "soon"], "600s, 10m, 1h"),
        (["--seeds", "0"], "seeds"),
        (["--runner", "thread", "--jobs", "2"], "takes 1"),
        (["--runner", "moon"], "runner"),
    ],
)
def test_a_bad_search_is_refused_before_anything_runs(
    quick: Company, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    assert says in refuses(quick, [*_arguments(quick), *more], capsys)


@pytest.mark.slow
def test_a_killed_search_is_not_begun_again(tmp_path: Path) -> None:
    company = found_company(tmp_path)
    killed = in_process(company, "compare", _arguments(company, "--runner", "thread", "--json"))
    assert killed.returncode == -9, killed.stderr
    tried = _tried(company)
    again = in_process(company, "-", _arguments(company, "--runner", "thread", "--json"))
    assert again.returncode == 0, again.stderr
    assert _tried(company) == tried
    assert len(json.loads(again.stdout)["board"]["standings"]) == 3


@pytest.mark.slow
def test_processes_try_the_same_as_one_process_does(tmp_path: Path) -> None:
    """The first settings of both methods are the same whoever runs them; so are their candidates."""
    digests = []
    for name, more in (("one", ["--runner", "thread"]), ("two", ["--runner", "process", "--jobs", "2"])):
        (tmp_path / name).mkdir()
        company = found_company(tmp_path / name)
        done = in_process(company, "-", _arguments(company, *more, "--json"))
        assert done.returncode == 0, done.stderr
        results = [standing["result"] for standing in json.loads(done.stdout)["board"]["standings"]]
        known = [r for r in results if r["setting"]["values"]["training.learning_rate"] == 1e-3]
        digests.append({r["setting"]["method"]: r["candidate"] for r in known})
    assert digests[0] == digests[1]
    assert len(digests[0]) == 2

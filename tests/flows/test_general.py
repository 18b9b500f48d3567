"""General tasks inside a run: measured on start model and candidate, certified, judged, shown, and run once each.

The harness is an extra. Where it is not installed it is a fake that answers by hand; the run around it is real.
"""

import base64
import json
from pathlib import Path

import pytest

from flows.assess import assess
from flows.erase import RequestReference, erase
from pipelines.config import load_config
from pipelines.errors import BadInput, VerificationFailed
from pipelines.evaluation.general_readings import GeneralReading
from pipelines.evaluation.general_tasks import GeneralTasks
from pipelines.home import Home
from pipelines.models.loading import LoadedModel
from pipelines.records import Evaluation, Measurement, Role, Verdict
from pipelines.search.training import Allowance
from pipelines.search.trial import Setting
from tasks.assessment import sealed_run
from tasks.outcome import Outcome
from tasks.tracking import tracking
from tasks.trials import try_setting
from tasks.workspace import read_record
from tests.flows.company import LENIENT, REQUEST, Company
from tests.flows.refusal import refuses
from tests.general import INSTALLED, ROWS, SAID, TASK, task_folder
from tests.scored import measurement

pytestmark = pytest.mark.usefixtures("prefect_env")
ASKED = [(role, name) for role in ("candidate", "start") for name in ("rivers", TASK)]
"""Those that the configuration names, then the policy's; no reference is asked."""

RIGHT: dict[str, tuple[float, ...]] = {TASK: (1.0,) * 10 + (0.0,) * 10, "rivers": (1.0,) * 16 + (0.0,) * 4}


def _erase(company: Company) -> Outcome:
    reference = RequestReference(id=REQUEST, path=str(company.request))
    return erase(reference, load_config(company.config), str(company.policy), str(company.home))


def _found(company: Company, role: Role, metric: str, task: str = TASK) -> Measurement | None:
    folder = company.home / "runs" / REQUEST / f"evaluate-{role}"
    return read_record(folder, "evaluation", Evaluation).find(metric, task)


def _measured(company: Company, role: Role, metric: str = "lm_eval_acc", task: str = TASK) -> Measurement:
    found = _found(company, role, metric, task)
    assert found is not None
    assert found.value is not None
    return found


def _ask(company: Company, *, most_lost: float, names: list[str]) -> None:
    """Tasks in the configuration, and one in the policy."""
    gates = {**LENIENT, "general_tasks": {"most_lost": most_lost, "tasks": TASK}}
    company.policy.write_text(json.dumps({"name": "test", "description": "Marks for tests.", "gates": gates}))
    folder = str(task_folder(company.root))
    company.set_config(
        evaluation={"bootstrap": 100, "max_new_tokens": 1, "general_tasks": names, "general_task_folder": folder}
    )


class Harness:
    """Knows two tasks; a model that was trained gets two rows wrong that the start model gets right."""

    def __init__(self, start: Path) -> None:
        self.start = str(start)
        self.asked: list[tuple[str, str]] = []
        self.dies_at = ""

    def find(self, names: tuple[str, ...], *, folder: Path | None = None) -> GeneralTasks:
        return GeneralTasks(names, folder.absolute() if folder else None, manager=None, evaluate=None, adapter=None)

    def run(self, loaded: LoadedModel, _tasks: GeneralTasks, name: str, **_more: object) -> tuple[GeneralReading, ...]:
        role = "start" if loaded.ref.path == self.start else "candidate"
        if self.dies_at == f"{role} {name}":
            raise BadInput("the machine is gone")
        self.asked.append((role, name))
        items = RIGHT[name] if role == "start" else (0.0, 0.0, *RIGHT[name][2:])
        found = measurement("lm_eval_acc", name, sum(items) / 20, spread=0.2, version="0.4+2+abc")
        return (GeneralReading(measurement=found, higher_is_better=True, items=items),)


@pytest.fixture
def harness(quick: Company, monkeypatch: pytest.MonkeyPatch) -> Harness:
    fake = Harness(quick.root / "start")
    monkeypatch.setattr("tasks.task_files.general_tasks", fake.find)
    monkeypatch.setattr("tasks.general.general_tasks", fake.find)
    monkeypatch.setattr("tasks.general.run_task", fake.run)
    monkeypatch.setattr("tasks.general.version", lambda _name: "0.4")
    return fake


def test_what_was_lost_is_judged_certified_and_shown(quick: Company, harness: Harness) -> None:
    """Two rows of twenty are lost, at most six in a resample."""
    _ask(quick, most_lost=0.3, names=["rivers"])
    outcome = _erase(quick)
    assert harness.asked == ASKED
    assert outcome.registered, outcome.reasons
    _check_what_was_measured(quick, outcome)


@pytest.mark.slow
def test_a_task_is_run_once_over_a_crash_and_only_from_the_files_of_intake(quick: Company, harness: Harness) -> None:
    _ask(quick, most_lost=0.05, names=["rivers"])
    harness.dies_at = f"candidate {TASK}"
    with pytest.raises(BadInput, match="the machine is gone"):
        _erase(quick)
    harness.dies_at = ""
    outcome = _erase(quick)
    [reason] = outcome.reasons
    assert reason.startswith("general_tasks: acc of towns, lost against the start: upper end ")
    log = (quick.home / "log" / "entries.jsonl").read_text()
    assert _erase(quick) == outcome
    assert harness.asked == ASKED
    assert (quick.home / "log" / "entries.jsonl").read_text() == log
    tried = try_setting.fn(sealed_run(str(quick.home), REQUEST), Setting(method="npo", values={}), 0, Allowance())
    assert tried.tightest is not None
    assert tried.tightest.gate == "general_tasks", "a search asks what a run asks"
    assert tried.margin is not None
    assert harness.asked == [*ASKED, *ASKED[:2]]
    _check_files_that_changed(quick)


def _check_what_was_measured(company: Company, outcome: Outcome) -> None:
    start, candidate = _measured(company, "start"), _measured(company, "candidate")
    lost = _measured(company, "candidate", "lm_eval_acc_lost")
    assert [one.value for one in (start, candidate, lost)] == pytest.approx([0.5, 0.4, 0.1])
    assert _found(company, "reference", "lm_eval_acc") is None
    assert _measured(company, "candidate", "lm_eval_acc_lost", "rivers").value == pytest.approx(0.1)
    gates = {g.gate: g for g in read_record(company.home / "runs" / REQUEST / "judge", "verdict", Verdict).gates}
    assert gates["general_tasks"].measurements == ("candidate/towns/lm_eval_acc_lost",)
    assert gates["general_tasks"].value == lost.high
    envelope = json.loads(Path(outcome.certificate).read_text())["envelope"]
    predicate = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    values = {one["name"]: one["value"] for one in predicate["metrics"]}
    assert float(values["start/towns/lm_eval_acc"]) == 0.5
    assert "lm_eval_acc of candidate, start, with intervals" in predicate["measured"]
    with tracking(Home.at(company.home)) as mlflow:
        shown = [run.data.metrics for run in mlflow.client.search_runs([mlflow.experiment_id])]
    assert [one["candidate/towns/lm_eval_acc_lost"] for one in shown if "start/towns/lm_eval_acc" in one] == [
        lost.value
    ]
    page = Path(outcome.report).read_text()
    kept = page.split("<b>What stays</b>")[1]
    assert ">General tasks: acc<" in kept
    assert ">General tasks: lost against the start model, acc<" in kept
    assert "General capability kept" in page


def _check_files_that_changed(company: Company) -> None:
    """Task files that are not those of intake are not run."""
    (company.root / "tasks" / "towns.jsonl").write_text("")
    (company.home / "vault" / REQUEST / "steps" / "general-start" / "task-0.json").unlink()
    with pytest.raises(VerificationFailed, match="is not what it was when the request came in"):
        assess(REQUEST, str(company.home))


@pytest.mark.usefixtures("prefect_says_nothing")
def test_a_context_is_no_model_that_the_harness_can_ask(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    _ask(company, most_lost=1.0, names=[])
    company.set_config(method="in_context")
    said = "general tasks: method in_context answers behind a context"
    assert said in refuses(company, company.arguments("--json"), capsys)


@pytest.mark.skipif(INSTALLED, reason="the extra lm-eval is installed")
@pytest.mark.usefixtures("prefect_says_nothing")
def test_without_the_extra_nothing_starts(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    _ask(company, most_lost=1.0, names=["rivers"])
    said = refuses(company, company.arguments("--json"), capsys)
    assert said == (
        "lethe: general tasks rivers,towns: the harness is not installed; pip install 'lethe-unlearning[lm-eval]'"
    )
    assert not (company.home / "runs" / REQUEST / "intake").exists()


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="the extra lm-eval is not installed")
@pytest.mark.filterwarnings("default")  # the harness's own
def test_a_real_task_in_a_real_run(
    quick: Company, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The task's own code prints and logs; nobody reads it, and no row of the request is in what the harness leaves."""
    hub = quick.root / "hub"
    monkeypatch.setenv("HF_HOME", str(hub))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(hub / "datasets"))
    _ask(quick, most_lost=1.0, names=[])
    outcome = _erase(quick)
    assert outcome.registered
    start, candidate = _measured(quick, "start"), _measured(quick, "candidate")
    lost = _measured(quick, "candidate", "lm_eval_acc_lost")
    assert start.n_scored == candidate.n_scored == lost.n_scored == ROWS
    assert lost.value == pytest.approx((start.value or 0.0) - (candidate.value or 0.0))
    shown = capfd.readouterr()
    assert SAID not in shown.out + shown.err
    left = [path for root in (quick.home, hub) if root.exists() for path in root.rglob("*") if path.is_file()]
    outside = [path for path in left if quick.home / "vault" not in path.parents]
    assert not [path for path in outside if SAID.encode() in path.read_bytes()]
    assert not [path for path in hub.rglob("*") if path.is_file() and b"Writer" in path.read_bytes()]

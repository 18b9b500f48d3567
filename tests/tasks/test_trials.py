"""A trial measures its candidate as the run that would make it again does: under all seeds, beside all shadow models.

On the tiny company: what is compared are whole evaluations, number by number and digest by digest.
"""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from flows.compare import prepare
from pipelines.config import load_config
from pipelines.home import Home
from pipelines.records import Evaluation, Measurement
from pipelines.scoring.generation import Sampling, generate
from pipelines.scoring.table import GenerationTable
from pipelines.search.training import Allowance
from pipelines.search.trial import Setting, TrialResult, config_of
from tasks.attribution import attribute
from tasks.evaluation import measure, score
from tasks.intake import take_in
from tasks.scope import draw_scope
from tasks.surrogate import other_roles
from tasks.trials import trial_name, try_setting
from tasks.unlearning import export, reference_statistics, train
from tasks.workspace import RunContext, Workspace, open_run, read_record
from tests.flows.company import LENIENT, REQUEST, Company
from tests.flows.company import found as found_company

SETTING = Setting(method="npo", values={"training.learning_rate": 1e-3, "training.epochs": 1})
MEASURES = ("probability", "extraction_strength", "extraction_strength_gap", "membership_gap", "sampled_leakage")


@pytest.fixture
def company(tmp_path: Path, mlflow_tables: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    monkeypatch.chdir(tmp_path)
    company = found_company(tmp_path)
    shutil.copyfile(mlflow_tables, Home.at(company.home).room("mlflow") / "mlflow.db")
    company.set_config(attribution={"backends": ["bm25"]}, scope={"neighbours": 2}, utility={})
    return company


def _evaluation(**more: object) -> dict[str, object]:
    return {"bootstrap": 100, "max_new_tokens": 2, "retain_sample": 2, "metrics": list(MEASURES), **more}


def _run(company: Company) -> RunContext:
    config = load_config(company.config)
    return open_run(REQUEST, str(company.request), config=config, policy=str(company.policy), home=str(company.home))


def _tried(run: RunContext) -> tuple[TrialResult, Evaluation]:
    """What a trial with the run's own seed gives."""
    result = try_setting.fn(run, SETTING, run.config.seed, Allowance())
    folder = Workspace.of(run).folder(trial_name(SETTING, run.config.seed), private=True)
    return result, read_record(folder, "evaluation", Evaluation)


def _run_itself(run: RunContext) -> Evaluation:
    """What a run with the setting in its configuration gives."""
    winner = run.model_copy(update={"config": config_of(run.config, SETTING)})
    reference_statistics.fn(winner)
    assert train.fn(winner) is None
    export.fn(winner)
    score.fn(winner, "candidate")
    return measure.fn(winner, "candidate")


def _by_name(evaluation: Evaluation) -> dict[tuple[str, str], Measurement]:
    return {(one.metric, one.split): one for one in evaluation.measurements}


def _on_forget(evaluation: Evaluation, metric: str) -> Measurement:
    found = evaluation.find(metric, "forget")
    assert found is not None
    return found


@pytest.fixture
def leaks_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampled answers give a tenth of the seed away, where an untrained model gives nothing under any."""

    def told(*args: Any, sampling: Sampling, **more: Any) -> GenerationTable:
        table = generate(*args, sampling=sampling, **more).table
        at = table.column_names.index("sampled_leakage")
        column = pa.array([None if old is None else sampling.seed / 10 for old in table[at].to_pylist()], pa.float64())
        return GenerationTable(table.set_column(at, table.schema.field(at), column))

    monkeypatch.setattr("pipelines.evaluation.evaluate.generate", told)


@pytest.mark.usefixtures("leaks_by_seed")
def test_several_seeds_are_those_of_the_run(company: Company) -> None:
    company.set_config(seed=3, evaluation=_evaluation(seeds=2, samples=2, probes=["multiple_choice"]))
    run = _run(company)
    take_in.fn(run)
    draw_scope.fn(run, attribute.fn(run))
    for role in other_roles(run):
        score.fn(run, role)
    for role in other_roles(run):
        measure.fn(run, role)
    result, tried = _tried(run)
    assert result.ending == "complete"
    assert result.candidate == tried.model_digest
    assert _by_name(tried) == _by_name(_run_itself(run))
    assert all(one.version.endswith("+2-seeds") for one in tried.measurements)
    leaked = _on_forget(tried, "sampled_leakage")
    assert leaked.complete
    assert leaked.value == pytest.approx(0.35), "seeds 3 and 4"
    assert _on_forget(tried, "multiple_choice_2_gap").complete


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_env")
def test_shadow_models_stand_in_for_a_reference_in_a_search_too(company: Company) -> None:
    company.set_config(
        reference=None,
        shadow={"base": str(company.root / "reference"), "models": 2, "epochs": 20, "rank": 4},
        evaluation=_evaluation(),
    )
    company.policy.write_text(
        yaml.safe_dump({"name": "p", "description": "d", "reference": "shadow", "gates": LENIENT}), encoding="utf-8"
    )
    run = _run(company)
    prepare(run)
    result, tried = _tried(run)
    assert result.passed
    assert _by_name(tried) == _by_name(_run_itself(run))
    for name in ("extraction_strength_gap", "membership_gap"):
        one = _on_forget(tried, name)
        assert one.version.endswith("+shadow")
        assert one.complete
